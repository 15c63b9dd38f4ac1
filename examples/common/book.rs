//! The chapters of the book that have Rust in them, as documentation tests: `cargo test` compiles their code blocks and runs
//! them. `tests/book.rs` sees to it that none is forgotten.
//!
//! Does not know: anything that is there outside of documentation tests.

macro_rules! chapters {
    ($($name:ident: $path:literal;)*) => { $(
        #[doc = include_str!(concat!("../../docs/", $path))]
        mod $name {}
    )* };
}

chapters! {
    regression: "guides/regression.md";
    images: "guides/images.md";
    losses: "guides/losses.md";
    training_loop: "guides/loop.md";
    choosing: "choosing.md";
    memory: "memory.md";
    devices: "devices.md";
    from_pytorch: "from-pytorch.md";
}
