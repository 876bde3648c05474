//! Checkpoints written byte by byte, as `torch.save` writes them, and some that it would not.

#![allow(clippy::unwrap_used)]

use super::*;

/// A pickle of protocol 2, piece by piece.
struct Pickle(Vec<u8>);

impl Pickle {
    fn new() -> Self {
        Self(b"\x80\x02".to_vec())
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    fn int(self, value: i32) -> Self {
        self.raw(b"J").raw(&value.to_le_bytes())
    }

    fn ints(mut self, values: &[i32]) -> Self {
        self = self.raw(b"(");
        for value in values {
            self = self.int(*value);
        }
        self.raw(b"t")
    }

    /// `name: _rebuild_tensor_v2(storage, offset, shape, strides, False, OrderedDict())`; a storage is its type,
    /// key and length.
    fn tensor(self, name: &str, storage: (&str, &str, i32), offset: i32, shape: &[i32], strides: &[i32]) -> Self {
        let (kind, key, length) = storage;
        let storage = self.text(name).raw(b"ctorch._utils\n_rebuild_tensor_v2\n((").text("storage");
        let storage = storage.raw(format!("ctorch\n{kind}\n").as_bytes()).text(key).text("cpu").int(length).raw(b"NtQ");
        storage.int(offset).ints(shape).ints(strides).raw(b"\x89ccollections\nOrderedDict\n)RtR")
    }
}

/// A file with the state and, for each key, its count and bytes.
fn file(state: Pickle, storages: &[(&str, u64, Vec<u8>)]) -> Vec<u8> {
    let system = Pickle::new().raw(b"}(").text("little_endian").raw(b"\x88u.");
    let mut keys = Pickle::new().raw(b"](");
    for (key, ..) in storages {
        keys = keys.text(key);
    }
    let mut bytes = [HEADER.to_vec(), system.0, state.raw(b"u.").0, keys.raw(b"e.").0].concat();
    for (_, length, data) in storages {
        bytes.extend(length.to_le_bytes());
        bytes.extend(data);
    }
    bytes
}

fn reals(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn begin() -> Pickle {
    Pickle::new().raw(b"ccollections\nOrderedDict\n)Rq\x00(")
}

/// Two tensors that share a storage, one of their own, and a counter.
fn good() -> Vec<u8> {
    let state = begin()
        .tensor("a", ("FloatStorage", "7", 6), 0, &[2, 1, 2], &[2, 9, 1])
        .tensor("b", ("FloatStorage", "7", 6), 4, &[2], &[1])
        .tensor("bn.num_batches_tracked", ("LongStorage", "8", 1), 0, &[], &[]);
    file(state, &[("8", 1, vec![0; 8]), ("7", 6, reals(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))])
}

fn told(bytes: &[u8]) -> String {
    match read_pytorch(bytes) {
        Err(ModelError::Checkpoint(what)) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn tensors_come_out_by_name() {
    let weights = read_pytorch(&good()).unwrap();
    assert_eq!(weights.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(
        (weights["a"].shape.as_slice(), weights["a"].data.as_slice()),
        (&[2, 1, 2][..], &[1.0, 2.0, 3.0, 4.0][..])
    );
    assert_eq!(weights["b"].data, [5.0, 6.0]);
}

#[test]
fn what_lies_transposed_comes_out_row_by_row() {
    let state = begin().tensor("w", ("FloatStorage", "1", 7), 1, &[2, 3], &[1, 2]);
    let storage = reals(&[9.0, 1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    let weights = read_pytorch(&file(state, &[("1", 7, storage)])).unwrap();
    assert_eq!(
        (weights["w"].shape.as_slice(), weights["w"].data.as_slice()),
        (&[2, 3][..], &[1., 2., 3., 4., 5., 6.][..])
    );
}

#[test]
fn nothing_that_it_does_not_know_is_run() {
    // What an attacker would send: os.system("touch /tmp/x").
    let state = begin().text("a").raw(b"cos\nsystem\n(").text("touch /tmp/x").raw(b"tR");
    assert!(told(&file(state, &[])).contains("`os.system`"));
    let state = begin().text("a").raw(b"ccollections\nOrderedDict\n(").int(1).raw(b"tR");
    assert!(told(&file(state, &[])).contains("operation 0x52"));
}

#[test]
fn what_does_not_fit_is_told() {
    let one = |kind: &str, length, offset, shape: &[i32], strides: &[i32]| {
        file(begin().tensor("w", (kind, "1", length), offset, shape, strides), &[("1", 4, reals(&[0.0; 4]))])
    };
    assert!(read_pytorch(&one("FloatStorage", 4, 0, &[2, 2], &[2, 1])).is_ok());
    for (bytes, what) in [
        (one("FloatStorage", 4, 1, &[2, 2], &[2, 1]), "not within its storage"),
        (one("FloatStorage", 4, 0, &[i32::MAX, i32::MAX, i32::MAX], &[1, 1, 1]), "not within its storage"),
        (one("FloatStorage", 4, 0, &[2, 2], &[1]), "not within its storage"),
        (one("FloatStorage", 4, 0, &[2, 2], &[3, 1]), "not within its storage"),
        (one("FloatStorage", 4, 0, &[5], &[0]), "not within its storage"),
        (one("FloatStorage", 4, 0, &[2, 2], &[i32::MAX, i32::MAX]), "not within its storage"),
        (one("FloatStorage", 4, -1, &[1], &[1]), "operation 0x52"),
        (one("FloatStorage", 5, 0, &[2, 2], &[2, 1]), "5 were announced"),
        (one("HalfStorage", 4, 0, &[2, 2], &[2, 1]), "`torch.HalfStorage`"),
        (b"PK\x03\x04 and more".to_vec(), "newer zip format"),
        (b"<html>".to_vec(), "does not begin as one"),
        ([good(), vec![0]].concat(), "1 bytes follow"),
    ] {
        assert!(told(&bytes).contains(what), "{what}: {}", told(&bytes));
    }
    let whole = begin().tensor("w", ("LongStorage", "1", 1), 0, &[1], &[1]);
    assert!(told(&file(whole, &[("1", 1, vec![0; 8])])).contains("whole numbers"));
    let twice = begin().tensor("w", ("FloatStorage", "1", 1), 0, &[1], &[1]);
    let twice = twice.tensor("w", ("FloatStorage", "1", 1), 0, &[1], &[1]);
    assert!(told(&file(twice, &[("1", 1, reals(&[0.0]))])).contains("there twice"));
    let state = begin().tensor("w", ("FloatStorage", "1", 1), 0, &[1], &[1]);
    assert!(told(&file(state, &[])).contains("`1` is missing"));
}

#[test]
fn depth_is_bounded() {
    let mut state = begin().text("a").raw(b")");
    for _ in 0..100_000 {
        state = state.raw(b"\x85");
    }
    assert!(told(&file(state, &[])).contains("operation 0x85"));
}

#[test]
fn a_broken_file_is_refused_at_every_place() {
    let bytes = good();
    for length in 0..bytes.len() {
        told(&bytes[..length]);
    }
    for place in 0..bytes.len() {
        for flip in [1, 0x80, 0xff] {
            let mut other = bytes.clone();
            other[place] ^= flip;
            // Names, keys of no meaning and numbers may differ; nothing may panic.
            let _ = read_pytorch(&other);
        }
    }
}

/// A file may say that little is much: such tensors are refused before anything is made of them.
#[test]
fn no_file_makes_more_numbers_than_it_has_bytes() {
    let empty = |shape: &[i32], strides: &[i32]| {
        file(begin().tensor("w", ("FloatStorage", "1", 1), 0, shape, strides), &[("1", 1, reals(&[0.0]))])
    };
    let weights = read_pytorch(&empty(&[i32::MAX, i32::MAX, 0], &[0, 0, 0])).unwrap();
    assert!(weights["w"].data.is_empty());
    let many = (0..100)
        .fold(begin(), |state, i| state.tensor(&format!("w{i}"), ("FloatStorage", "1", 10_000), 0, &[10_000], &[1]));
    let said = told(&file(many, &[("1", 10_000, reals(&[0.0; 10_000]))]));
    assert!(said.contains("more numbers than the file"), "{said}");
    let marks = begin().raw(&[b'('; 20_000]);
    assert!(told(&file(marks, &[])).contains("operation 0x28"));
}

#[test]
fn no_spoiled_checkpoint_makes_the_reader_panic() {
    let read = |bytes: &[u8]| drop(read_pytorch(bytes));
    kindling_spoil::check(&[kindling_spoil::Parser {
        name: "checkpoint",
        read,
        seeds: || vec![good()],
        cases: 20_000,
    }]);
}
