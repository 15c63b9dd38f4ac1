//! The names a pickle may import. Nothing is ever imported: each stands for a case of the reader.
//!
//! Does not know: what is done with them.

/// A global that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Global {
    /// numpy: an empty array, filled by a later state.
    Reconstruct,
    /// numpy: an array over a buffer.
    FromBuffer,
    /// numpy: one item.
    Scalar,
    Ndarray,
    Dtype,
    /// Text to bytes, by which Python 3 writes bytes for Python 2.
    Encode,
    OrderedDict,
    DefaultDict,
    List,
    Dict,
    Set,
    Frozenset,
    Range,
    Bytes,
    Bytearray,
    /// A type that only occurs as what a `defaultdict` makes.
    Plain,
}

impl Global {
    /// The global of a module and a name, in the spellings of Python 2 and 3 and of numpy 1 and 2.
    pub fn lookup(module: &str, name: &str) -> Option<Self> {
        match module {
            "numpy" => match name {
                "ndarray" => Some(Self::Ndarray),
                "dtype" => Some(Self::Dtype),
                _ => None,
            },
            "_codecs" => (name == "encode").then_some(Self::Encode),
            "collections" => match name {
                "OrderedDict" => Some(Self::OrderedDict),
                "defaultdict" => Some(Self::DefaultDict),
                _ => None,
            },
            "builtins" | "__builtin__" => Self::builtin(name),
            _ => Self::numpy(module, name),
        }
    }

    fn builtin(name: &str) -> Option<Self> {
        Some(match name {
            "list" => Self::List,
            "dict" => Self::Dict,
            "set" => Self::Set,
            "frozenset" => Self::Frozenset,
            "range" | "xrange" => Self::Range,
            "bytes" => Self::Bytes,
            "bytearray" => Self::Bytearray,
            "int" | "long" | "float" | "str" | "unicode" | "bool" | "tuple" => Self::Plain,
            _ => return None,
        })
    }

    fn numpy(module: &str, name: &str) -> Option<Self> {
        let part = module.strip_prefix("numpy.core.").or_else(|| module.strip_prefix("numpy._core."))?;
        match (part, name) {
            ("multiarray" | "_multiarray_umath", "_reconstruct") => Some(Self::Reconstruct),
            ("multiarray" | "_multiarray_umath", "scalar") => Some(Self::Scalar),
            ("numeric", "_frombuffer") => Some(Self::FromBuffer),
            _ => None,
        }
    }
}
