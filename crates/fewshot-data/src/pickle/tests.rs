//! Pickles written by Python itself, and pickles written by hand to do harm.

use std::path::Path;
use std::sync::Arc;

use super::*;

fn read(bytes: &[u8]) -> Result<Pickle, Error> {
    Pickle::read(Path::new("a.pkl"), Arc::new(bytes.to_vec()))
}

fn message(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

fn fixture(name: &str) -> Pickle {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/forms/values/");
    let path = PathBuf::from(format!("{directory}{name}"));
    Pickle::read(&path, crate::mapped::map(&path).unwrap()).unwrap()
}

const WRITERS: [&str; 5] =
    ["python2.pkl", "python3-protocol2.pkl", "python3-protocol3.pkl", "python3-protocol4.pkl", "python3-protocol5.pkl"];

#[test]
fn plain_values_of_every_writer_are_read() {
    for name in WRITERS {
        let pickle = fixture(name);
        let value = |key| pickle.get(pickle.root(), key).unwrap_or_else(|| panic!("{name} lacks {key}"));
        let ints = |id| pickle.sequence(id).unwrap().iter().map(|&i| pickle.int(i).unwrap()).collect::<Vec<_>>();
        assert!(matches!(pickle.node(value("none")), Node::None));
        assert!(matches!(pickle.node(value("true")), Node::Bool(true)));
        assert!(matches!(pickle.node(value("false")), Node::Bool(false)));
        let wanted = [0, 255, 256, 65535, 65536, -1, -(1 << 31), 1 << 31, i64::MAX, i64::MIN];
        assert_eq!(ints(value("ints")), wanted, "{name}");
        assert!(matches!(pickle.node(value("huge")), Node::Huge));
        assert!(matches!(pickle.node(value("float")), Node::Float(0.5)));
        assert_eq!(pickle.text(value("text")), Some("née"));
        assert_eq!(pickle.bytes_of(value("bytes")), Some(&[0, 255, 128][..]), "{name}");
        assert_eq!(pickle.bytes_of(value("empty")), Some(&[][..]), "{name}");
        assert_eq!(pickle.bytes_of(value("bytearray")), Some(&[1, 254][..]), "{name}");
        assert!(matches!(pickle.node(value("set")), Node::Set(_)));
        assert!(matches!(pickle.node(value("frozen")), Node::Set(_)));
        let (start, count, step) = pickle.range(value("range")).unwrap();
        // Python 2 keeps the end of its last step, Python 3 what was written: 2, 5, 8 either way.
        assert_eq!((start, count, step), (2, 3, 3), "{name}");
        assert_eq!(ints(pickle.get(value("default"), "a").unwrap()), [1, 2], "{name}");
        let shared = pickle.sequence(value("shared")).unwrap();
        assert_eq!(shared[0], shared[1]);
        let tuples = pickle.sequence(value("tuples")).unwrap();
        assert_eq!(tuples.iter().map(|&t| ints(t).len()).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }
}

#[test]
fn arrays_of_every_writer_are_read() {
    for name in WRITERS {
        let pickle = fixture(name);
        let value = |key| pickle.get(pickle.root(), key).unwrap_or_else(|| panic!("{name} lacks {key}"));
        let array = |key| pickle.array(value(key), key).unwrap().unwrap_or_else(|| panic!("{name}: {key}"));
        assert_eq!((array("u1").shape, array("u1").data().to_vec()), (vec![2, 3], (250..=255).collect()), "{name}");
        assert_eq!(array("i2big").ints().unwrap(), [-2, 513], "{name}");
        assert_eq!(array("i8").ints().unwrap(), [-7, 5], "{name}");
        assert_eq!(array("b1").ints().unwrap(), [1, 0], "{name}");
        assert_eq!(array("f4").data(), [1.5f32.to_le_bytes(), (-2f32).to_le_bytes()].concat(), "{name}");
        assert_eq!(array("S").strings().unwrap(), ["ab", "cde"], "{name}");
        assert_eq!(array("U").strings().unwrap(), ["ab", "née"], "{name}");
        // In Fortran order the bytes are those of the transposed array.
        assert_eq!((array("fortran").shape, array("fortran").data().to_vec()), (vec![2, 3], vec![0, 3, 1, 4, 2, 5]));
        assert_eq!(array("zero").shape, [0, 3]);
        let scalars = pickle.sequence(value("scalars")).unwrap();
        assert!(matches!(pickle.node(scalars[0]), Node::Int(-3)), "{name}");
        assert!(matches!(pickle.node(scalars[1]), Node::Float(2.5)), "{name}");
        assert!(matches!(pickle.node(scalars[2]), Node::Int(200)), "{name}");
        assert!(matches!(pickle.node(scalars[3]), Node::Bool(true)), "{name}");
        // Python keeps one copy of each single byte, which several arrays then share.
        let singles = pickle.sequence(value("singles")).unwrap();
        let single = |&id: &Id| pickle.array(id, "singles").unwrap().unwrap().data()[0];
        assert_eq!(singles.iter().map(single).collect::<Vec<_>>(), [5, 5, 6], "{name}");
    }
}

#[test]
fn a_list_that_holds_itself_is_described_without_end() {
    for name in WRITERS {
        let pickle = fixture(name);
        let cycle = pickle.get(pickle.root(), "cycle").unwrap();
        let items = pickle.sequence(cycle).unwrap();
        assert_eq!((items.len(), items[1]), (2, cycle), "{name}");
        assert_eq!(pickle.describe(cycle), "a list of 2 items");
    }
}

#[test]
fn nothing_but_arrays_and_containers_is_imported() {
    let attacks: [(&[u8], &str); 6] = [
        (b"\x80\x02cos\nsystem\n(U\x02lstR.", "os.system"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", "posix.system"),
        (b"\x80\x02c__builtin__\neval\n.", "__builtin__.eval"),
        (b"\x80\x02cbuiltins\ngetattr\n.", "builtins.getattr"),
        (b"\x80\x02cnumpy\nload\n.", "numpy.load"),
        (b"\x80\x02c_codecs\ndecode\n.", "_codecs.decode"),
    ];
    for (bytes, global) in attacks {
        let error = read(bytes).unwrap_err();
        assert!(matches!(&error, Error::ForbiddenGlobal { global: found, .. } if found == global), "{error}");
    }
    assert_eq!(
        message(attacks[0].0),
        "a.pkl: byte 2 of the pickle names the global os.system; expected only arrays and plain containers, nothing to run"
    );
    // The name is the file's: it must not break the line or fill the screen.
    let long = [&b"\x80\x02ca\x1b[31m"[..], &[b'x'; 900], b"\nb\n."].concat();
    assert!(message(&long).len() < 500 && !message(&long).contains('\x1b'));
}

#[test]
fn other_forms_of_pickle_are_errors_that_say_so() {
    let cases: [(&[u8], &str); 9] = [
        (b"(dp0\n.", "expected protocol 2 to 5, not the text protocols 0 and 1"),
        (b"\x80\x06.", "protocol 6; expected 2 to 5"),
        (b"\x80\x05\x97.", "a buffer kept outside the pickle"),
        (b"\x80\x02Pid\n.", "an object kept outside the pickle"),
        (b"\x80\x02\x82\x01.", "an extension code"),
        (b"\x80\x02S'a'\n.", "opcode 'S' of the text protocols"),
        (b"\x80\x02\xff.", "byte 0xff where an opcode is expected"),
        (b"\x80\x02(c__builtin__\nlist\no.", "an instance of a class"),
        (b"\x80\x02c__builtin__\nlist\n)R}b.", "a state for something that has none"),
    ];
    for (bytes, wanted) in cases {
        assert!(message(bytes).contains(wanted), "{}", message(bytes));
    }
}

#[test]
fn damage_is_an_error_with_its_place() {
    let cases: [(&[u8], &str); 13] = [
        (b"", "2 more bytes expected, 0 left"),
        (b"\x80\x02", "byte 2 of the pickle: the file ends"),
        (b"\x80\x02.", "the stack is empty"),
        (b"\x80\x02N", "byte 3 of the pickle: the file ends"),
        (b"\x80\x02X\xff\xff\xff\xff.", "4294967295 more bytes expected, 1 left"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", "bytes expected, 1 left"),
        (b"\x80\x04\x95\x09\0\0\0\0\0\0\0.", "a frame of 9 bytes, but only 1 are left"),
        (b"\x80\x02h\x05.", "memo entry 5 is fetched"),
        (b"\x80\x02Nr\xff\xff\xff\xff.", "memo entry 4294967295 so early"),
        (b"\x80\x02t.", "no mark on the stack"),
        (b"\x80\x02(N\x86.", "the stack is empty"),
        (b"\x80\x02}(Nu.", "a dictionary key without a value"),
        (b"\x80\x02NNa.", "items put into something that does not hold them"),
    ];
    for (bytes, wanted) in cases {
        assert!(message(bytes).contains(wanted), "{}", message(bytes));
    }
}

#[test]
fn neither_depth_nor_width_costs_stack_or_time() {
    let deep = [&b"\x80\x02"[..], &[b'('; 1_000_000], b"N."].concat();
    assert!(read(&deep).is_ok());
    let nested = [&b"\x80\x02N"[..], &[0x85; 1_000_000], b"."].concat();
    assert_eq!(read(&nested).unwrap().describe(read(&nested).unwrap().root()), "a tuple of 1 items");
    // A list of pairs made into a dictionary again and again: it is empty from the second time on.
    let mut pairs = b"\x80\x02ccollections\nOrderedDict\nq\x00](NN\x86NN\x86eq\x01".to_vec();
    pairs.extend(b"\x85R".iter());
    for _ in 0..1000 {
        pairs.extend(b"0h\x00h\x01\x85R".iter());
    }
    pairs.push(b'.');
    let pickle = read(&pairs).unwrap();
    assert_eq!(pickle.entries(pickle.root()).unwrap().count(), 0);
}

/// Texts of a megabyte used half a million times: each must be looked at once, not each time.
#[test]
fn what_is_fetched_again_and_again_costs_nothing_again() {
    let mut bytes = b"\x80\x02c_codecs\nencode\nq\x00".to_vec();
    for (memo, letter) in [(1u8, "a"), (2, "\u{e9}")] {
        let text = letter.repeat(1_000_000);
        bytes.push(b'X');
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.extend([b'q', memo, b'0']);
    }
    bytes.extend(b"U\x06latin1q\x030");
    for _ in 0..250_000 {
        bytes.extend(b"h\x00h\x01h\x03\x86R0h\x00h\x02h\x03\x86R0");
    }
    bytes.push(b'.');
    let start = std::time::Instant::now();
    let pickle = read(&bytes).unwrap();
    assert_eq!(pickle.arena.blobs.len(), 1);
    // Takes a tenth of a second; looked at each time it takes minutes.
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn ranges_count_like_python() {
    let count = |bounds: &[i32]| {
        let mut bytes = b"\x80\x02c__builtin__\nxrange\n(".to_vec();
        bounds.iter().for_each(|bound| bytes.extend([&b"J"[..], &bound.to_le_bytes()].concat()));
        bytes.extend(b"tR.");
        read(&bytes).map(|pickle| pickle.range(pickle.root()).unwrap().1)
    };
    for (bounds, wanted) in [
        (&[4][..], 4),
        (&[2, 11], 9),
        (&[2, 11, 3], 3),
        (&[2, 10, 3], 3),
        (&[5, 5], 0),
        (&[9, 2, -3], 3),
        (&[2, 9, -1], 0),
    ] {
        assert_eq!(count(bounds).unwrap(), wanted, "{bounds:?}");
    }
    assert!(count(&[1, 2, 0]).is_err());
}

/// A list of small arrays as Python 2 writes them: the memory must stay under 250 bytes for each.
#[test]
fn small_arrays_take_little_memory() {
    let pickle = fixture("many-arrays.pkl");
    let arrays = pickle.sequence(pickle.root()).unwrap();
    assert_eq!(arrays.len(), 40);
    for (i, &id) in arrays.iter().enumerate() {
        let array = pickle.array(id, "").unwrap().unwrap();
        assert_eq!((array.data().len(), array.data()[0]), (300 + i, i as u8));
    }
    let arena = &pickle.arena;
    let bytes = size_of_val(&arena.nodes[..]) + size_of_val(&arena.items[..]) + size_of_val(&arena.arrays[..]);
    let each = (bytes + size_of_val(&arena.dims[..])) as f64 / arrays.len() as f64;
    // The constants every arena begins with count for nothing in a list of half a million.
    let each = each - (259 * size_of::<Node>()) as f64 / arrays.len() as f64;
    assert!(each < 220.0, "{each} bytes");
}
