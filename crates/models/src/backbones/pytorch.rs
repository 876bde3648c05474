//! Reads the state of a network that `torch.save` wrote in its format from before version 1.6.
//!
//! Such a file is a row of Python pickles, and pickles are programs. This is no interpreter of them: it knows
//! the few operations that a dictionary of tensors is made of, and the three names that may be called in one,
//! and refuses everything else. Nothing of the file is ever executed.

use crate::ModelError;
use kindling_graph::{Tensor, Weights};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Two pickles: the format's number and its version, 1001.
const HEADER: [u8; 21] = *b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.";
/// What such a file's metadata needs; deeper ones would only serve to exhaust the stack.
const DEEPEST: usize = 8;
/// Values on the stack: `torch.save` writes a dictionary's entries by the thousand.
const HIGHEST: usize = 10_000;
/// Counters that PyTorch keeps beside running statistics; inference has no use for them.
const COUNTER: &str = ".num_batches_tracked";

/// Every tensor of 32-bit reals by its name. The counters of BatchNorm are left out.
///
/// # Errors
/// [`ModelError::Checkpoint`] saying at which byte, and what was found there.
pub fn read_pytorch(bytes: &[u8]) -> Result<Weights, ModelError> {
    read(bytes).map_err(ModelError::Checkpoint)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    F32,
    I64,
}

impl Number {
    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::I64 => 8,
        }
    }
}

/// The only names that may occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    OrderedDict,
    RebuildTensor,
    Storage(Number),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Storage {
    key: Rc<str>,
    number: Number,
    length: usize,
}

#[derive(Debug)]
struct View {
    storage: Storage,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl View {
    /// A view within its storage, and no larger, so that no stride of 0 makes much of little.
    fn new(storage: &Storage, offset: usize, shape: Vec<usize>, strides: Vec<usize>) -> Option<Self> {
        let length = shape.iter().try_fold(1usize, |length, axis| length.checked_mul(*axis))?;
        let mut last = shape.iter().zip(&strides).map(|(axis, stride)| axis.saturating_sub(1).checked_mul(*stride));
        let last = last.try_fold(offset, |at, step| at.checked_add(step?))?;
        let within = shape.len() == strides.len() && length <= storage.length && last < storage.length;
        within.then(|| Self { storage: storage.clone(), offset, shape, strides })
    }

    /// Where in the storage each number is, row by row. What was converted from another framework often
    /// lies transposed.
    fn places(&self) -> Vec<usize> {
        if self.shape.contains(&0) {
            return Vec::new();
        }
        self.shape.iter().zip(&self.strides).fold(vec![self.offset], |places, (axis, stride)| {
            places.iter().flat_map(|place| (0..*axis).map(move |i| place + i * stride)).collect()
        })
    }
}

#[derive(Debug, Clone)]
enum Value {
    Mark,
    None,
    Bool(bool),
    Int(i64),
    Text(Rc<str>),
    Name(Name),
    Tuple(Rc<[Value]>, usize),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>, usize),
    Storage(Storage),
    View(Rc<View>),
}

impl Value {
    fn depth(&self) -> usize {
        match self {
            Self::Tuple(_, depth) | Self::Dict(_, depth) => *depth,
            Self::List(_) => 1,
            _ => 0,
        }
    }

    fn count(&self) -> Option<usize> {
        if let Self::Int(value) = self { usize::try_from(*value).ok() } else { None }
    }
}

fn read(bytes: &[u8]) -> Result<Weights, String> {
    if !bytes.starts_with(&HEADER) {
        let zip = bytes.starts_with(b"PK\x03\x04");
        let what = if zip { "it is of PyTorch's newer zip format" } else { "it does not begin as one" };
        return Err(format!("{what}; needed is a file of torch.save with _use_new_zipfile_serialization=False"));
    }
    let mut reader = Reader { bytes, at: HEADER.len() };
    let system = reader.pickle()?;
    let Value::Dict(system, _) = system else { return Err("the second pickle is no dictionary".into()) };
    let little =
        |(k, v): &(Value, Value)| matches!((k, v), (Value::Text(k), Value::Bool(true)) if **k == *"little_endian");
    if !system.iter().any(little) {
        return Err("its numbers are not little-endian".into());
    }
    let Value::Dict(state, _) = reader.pickle()? else { return Err("it holds no dictionary of tensors".into()) };
    let views = views(state)?;
    let Value::List(keys) = reader.pickle()? else { return Err("the list of storages is missing".into()) };
    let storages = reader.storages(&keys, &views)?;
    // Views of one storage may be many, and each is copied.
    let numbers = views.values().map(|view| view.shape.iter().product::<usize>());
    if numbers.fold(0, usize::saturating_add) > bytes.len() / 4 {
        return Err("its tensors together have more numbers than the file".into());
    }
    let mut weights = Weights::new();
    for (name, view) in views {
        let (number, data) =
            storages.get(&view.storage.key).ok_or_else(|| format!("the storage of `{name}` is missing"))?;
        if *number == Number::I64 {
            if !name.ends_with(COUNTER) || !view.shape.is_empty() {
                return Err(format!("`{name}` is of whole numbers; weights are of 32-bit reals"));
            }
            continue;
        }
        let (numbers, _) = data.as_chunks::<4>();
        let data = view.places().into_iter().map(|place| f32::from_le_bytes(numbers[place])).collect();
        weights.insert(name.to_string(), Tensor::new(view.shape.clone(), data).map_err(|e| e.to_string())?);
    }
    Ok(weights)
}

/// The tensors by name.
fn views(state: Vec<(Value, Value)>) -> Result<BTreeMap<Rc<str>, Rc<View>>, String> {
    let mut views = BTreeMap::new();
    for (name, value) in state {
        let (Value::Text(name), Value::View(view)) = (name, value) else {
            return Err("the dictionary holds something else than named tensors".into());
        };
        if views.insert(name.clone(), view).is_some() {
            return Err(format!("`{name}` is there twice"));
        }
    }
    Ok(views)
}

/// The bytes of each storage by its key.
type Storages<'a> = BTreeMap<Rc<str>, (Number, &'a [u8])>;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else {
            return Err(format!("it ends too early: {count} bytes are missing at byte {}", self.at));
        };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.bytes[self.at..];
        // Names are short; a search to the end of the file for each would take long.
        let end = rest.iter().take(100).position(|b| *b == b'\n');
        let end = end.ok_or_else(|| format!("the name at byte {} does not end", self.at))?;
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).map_err(|_| format!("the name before byte {} is no text", self.at))
    }

    /// The numbers behind the last pickle, in the order of its keys.
    fn storages(&mut self, keys: &[Value], views: &BTreeMap<Rc<str>, Rc<View>>) -> Result<Storages<'a>, String> {
        let mut wanted: BTreeMap<Rc<str>, &Storage> = BTreeMap::new();
        for (name, view) in views {
            if let Some(other) = wanted.insert(view.storage.key.clone(), &view.storage)
                && *other != view.storage
            {
                return Err(format!("the storage of `{name}` is described in two ways"));
            }
        }
        let mut found = BTreeMap::new();
        for key in keys {
            let Value::Text(key) = key else { return Err("a storage's key is no text".into()) };
            let storage = wanted.remove(key).ok_or_else(|| format!("no tensor uses the storage `{key}`"))?;
            let length = u64::from_le_bytes(self.array()?);
            if length != storage.length as u64 {
                return Err(format!("the storage `{key}` holds {length} numbers, {} were announced", storage.length));
            }
            let size = storage.length.checked_mul(storage.number.bytes());
            let size = size.ok_or_else(|| format!("the storage `{key}` is too large"))?;
            found.insert(key.clone(), (storage.number, self.take(size)?));
        }
        match (wanted.keys().next(), self.bytes.len() - self.at) {
            (Some(key), _) => Err(format!("the storage `{key}` is missing")),
            (None, 0) => Ok(found),
            (None, rest) => Err(format!("{rest} bytes follow where it should end")),
        }
    }

    /// One pickle, from its protocol byte to its end.
    fn pickle(&mut self) -> Result<Value, String> {
        let mut stack = Stack { values: Vec::new(), memo: BTreeMap::new() };
        if self.array()? != *b"\x80\x02" {
            return Err(format!("no pickle of protocol 2 begins at byte {}", self.at - 2));
        }
        loop {
            let at = self.at;
            let [operation] = self.array()?;
            if operation == b'.' {
                let value = stack.pop();
                return value
                    .filter(|_| stack.values.is_empty())
                    .ok_or_else(|| format!("the pickle that ends at byte {at} is not one value"));
            }
            let done = self.step(operation, &mut stack)?.filter(|()| stack.values.len() <= HIGHEST);
            done.ok_or_else(|| {
                format!(
                    "operation {operation:#04x} at byte {at} is none that tensors are made of, or does not fit there"
                )
            })?;
        }
    }

    /// One operation; `None` where it is not known or does not fit.
    fn step(&mut self, operation: u8, stack: &mut Stack) -> Result<Option<()>, String> {
        let value = match operation {
            b'(' => Value::Mark,
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Int(self.array::<1>()?[0].into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            b'X' => {
                let length = u32::from_le_bytes(self.array()?) as usize;
                let text = std::str::from_utf8(self.take(length)?);
                Value::Text(text.map_err(|_| format!("the text before byte {} is not UTF-8", self.at))?.into())
            }
            b'c' => Value::Name(name(self.line()?, self.line()?)?),
            b')' => Value::Tuple(Rc::new([]), 1),
            b'}' => Value::Dict(Vec::new(), 1),
            b']' => Value::List(Vec::new()),
            b'q' => return Ok(stack.put(self.array::<1>()?[0].into())),
            b'r' => return Ok(stack.put(u32::from_le_bytes(self.array()?))),
            b'h' => return Ok(stack.get(self.array::<1>()?[0].into())),
            b'j' => return Ok(stack.get(u32::from_le_bytes(self.array()?))),
            _ => return stack.combine(operation),
        };
        stack.values.push(value);
        Ok(Some(()))
    }
}

fn name(module: &str, name: &str) -> Result<Name, String> {
    match (module, name) {
        ("collections", "OrderedDict") => Ok(Name::OrderedDict),
        ("torch._utils", "_rebuild_tensor_v2") => Ok(Name::RebuildTensor),
        ("torch", "FloatStorage") => Ok(Name::Storage(Number::F32)),
        ("torch", "LongStorage") => Ok(Name::Storage(Number::I64)),
        _ => Err(format!("it names `{module}.{name}`, which no dictionary of weights has; it may be harmful")),
    }
}

struct Stack {
    values: Vec<Value>,
    memo: BTreeMap<u32, Value>,
}

impl Stack {
    fn pop(&mut self) -> Option<Value> {
        self.values.pop().filter(|value| !matches!(value, Value::Mark))
    }

    fn above_mark(&mut self) -> Option<Vec<Value>> {
        let mark = self.values.iter().rposition(|value| matches!(value, Value::Mark))?;
        let above = self.values.split_off(mark + 1);
        self.values.pop();
        Some(above)
    }

    fn put(&mut self, place: u32) -> Option<()> {
        let value = match self.values.last()? {
            // These change after they are put; one that were used twice would need to be shared.
            Value::Mark | Value::List(_) | Value::Dict(..) => Value::Mark,
            value => value.clone(),
        };
        self.memo.insert(place, value);
        Some(())
    }

    fn get(&mut self, place: u32) -> Option<()> {
        let value = self.memo.get(&place).filter(|value| !matches!(value, Value::Mark))?.clone();
        self.values.push(value);
        Some(())
    }

    /// The operations that make one value of several.
    fn combine(&mut self, operation: u8) -> Result<Option<()>, String> {
        let Some(value) = (match operation {
            b't' => self.above_mark().and_then(tuple),
            0x85..=0x87 => {
                let count = usize::from(operation - 0x84);
                let start = self.values.len().checked_sub(count);
                start.map(|start| self.values.split_off(start)).and_then(tuple)
            }
            b's' => self.pop().zip(self.pop()).and_then(|(value, key)| self.extend_dict(vec![key, value])),
            b'u' => self.above_mark().and_then(|items| self.extend_dict(items)),
            b'e' => match self.above_mark().zip(self.pop()) {
                Some((items, Value::List(mut list))) if items.iter().all(|item| item.depth() == 0) => {
                    list.extend(items);
                    Some(Value::List(list))
                }
                _ => None,
            },
            // The state that is set is the dictionary's `_metadata`: versions of layers.
            b'b' => match self.pop().zip(self.pop()) {
                Some((Value::Dict(..), dict @ Value::Dict(..))) => Some(dict),
                _ => None,
            },
            b'Q' => self.pop().and_then(storage),
            b'R' => match self.pop().zip(self.pop()) {
                Some((Value::Tuple(arguments, _), Value::Name(name))) => call(name, &arguments)?,
                _ => None,
            },
            _ => None,
        }) else {
            return Ok(None);
        };
        self.values.push(value);
        Ok(Some(()))
    }

    fn extend_dict(&mut self, items: Vec<Value>) -> Option<Value> {
        let Value::Dict(mut dict, mut depth) = self.pop()? else { return None };
        let mut items = items.into_iter();
        while let Some(key) = items.next() {
            let value = items.next()?;
            if !matches!(key, Value::Text(_)) || matches!(value, Value::Mark) {
                return None;
            }
            depth = depth.max(value.depth() + 1);
            dict.push((key, value));
        }
        (depth <= DEEPEST).then_some(Value::Dict(dict, depth))
    }
}

fn tuple(items: Vec<Value>) -> Option<Value> {
    let depth = items.iter().map(Value::depth).max().unwrap_or(0) + 1;
    let marked = items.iter().any(|item| matches!(item, Value::Mark));
    (depth <= DEEPEST && !marked).then(|| Value::Tuple(items.into(), depth))
}

/// `('storage', type, key, location, numbers, None)`.
fn storage(id: Value) -> Option<Value> {
    let Value::Tuple(id, _) = id else { return None };
    match &*id {
        [
            Value::Text(tag),
            Value::Name(Name::Storage(number)),
            Value::Text(key),
            Value::Text(_),
            length,
            Value::None,
        ] if **tag == *"storage" => {
            Some(Value::Storage(Storage { key: key.clone(), number: *number, length: length.count()? }))
        }
        _ => None,
    }
}

fn call(name: Name, arguments: &[Value]) -> Result<Option<Value>, String> {
    match (name, arguments) {
        (Name::OrderedDict, []) => Ok(Some(Value::Dict(Vec::new(), 1))),
        (
            Name::RebuildTensor,
            [
                Value::Storage(storage),
                offset,
                Value::Tuple(shape, _),
                Value::Tuple(strides, _),
                Value::Bool(_),
                Value::Dict(..),
            ],
        ) => {
            let counts = |values: &[Value]| values.iter().map(Value::count).collect::<Option<Vec<_>>>();
            let (Some(offset), Some(shape), Some(strides)) = (offset.count(), counts(shape), counts(strides)) else {
                return Ok(None);
            };
            let what = format!("a tensor of {shape:?} from {offset} on, strides {strides:?}");
            let view = View::new(storage, offset, shape, strides);
            let view = view.ok_or_else(|| format!("{what}, is not within its storage of {}", storage.length))?;
            Ok(Some(Value::View(Rc::new(view))))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
#[path = "pytorch_tests.rs"]
mod tests;
