//! A stable map that reports records that do not decode, and what a record is.

use std::borrow::Cow;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::ops::RangeBounds;

use ic_stable_structures::memory_manager::{MemoryId, MemoryManager, VirtualMemory};
use ic_stable_structures::{Memory, StableBTreeMap, Storable};

use crate::StableError;

/// A value of a [`Table`] or a [`Register`](crate::Register).
///
/// ```
/// use ic_stable_migrate::{Record, codec, newer_format};
///
/// #[derive(minicbor::Encode, minicbor::Decode)]
/// struct Profile {
///     #[n(0)]
///     name: String,
/// }
///
/// impl Record for Profile {
///     const NAME: &'static str = "profile";
///     const FORMAT: Option<u8> = Some(1);
///
///     fn encode(&self) -> Vec<u8> {
///         codec::encode(1, self)
///     }
///
///     fn decode(bytes: &[u8]) -> Result<Self, String> {
///         codec::decode(1, bytes)
///     }
/// }
///
/// let mut stored = Profile { name: "Ada".into() }.encode();
/// assert_eq!(Profile::decode(&stored)?.name, "Ada");
/// stored[0] = 2;
/// assert!(Profile::decode(&stored).is_err());
/// assert_eq!(newer_format::<Profile>(&stored), Some((2, 1)));
/// # Ok::<(), String>(())
/// ```
pub trait Record: Sized {
    /// Name of this kind of record, for error messages.
    const NAME: &'static str;

    /// The newest format that this build supports, for records whose first byte is their format. A record of a higher
    /// format was written by a newer build. `None` if the first byte is not a format.
    const FORMAT: Option<u8> = None;

    /// Returns the bytes to store.
    fn encode(&self) -> Vec<u8>;

    /// Decodes stored bytes.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    fn decode(bytes: &[u8]) -> Result<Self, String>;
}

/// Returns the format of a record and the newest that this build supports, if a newer build wrote the record; otherwise
/// `None`.
///
/// ```
/// use ic_stable_migrate::{MigrationState, Record, newer_format};
///
/// let mut stored = MigrationState::<u64>::default().encode();
/// assert_eq!(newer_format::<MigrationState>(&stored), None);
/// stored[0] = 9;
/// assert_eq!(newer_format::<MigrationState>(&stored), Some((9, 1)));
/// ```
#[must_use]
pub fn newer_format<V: Record>(stored: &[u8]) -> Option<(u8, u8)> {
    let (found, known) = stored.first().copied().zip(V::FORMAT)?;
    (found > known).then_some((found, known))
}

/// Raw bytes as a map value; unlike typed values they cannot fail to load.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Raw(Vec<u8>);

impl Storable for Raw {
    const BOUND: ic_stable_structures::storable::Bound = ic_stable_structures::storable::Bound::Unbounded;

    fn to_bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.0)
    }

    fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn from_bytes(bytes: Cow<'_, [u8]>) -> Self {
        Self(bytes.into_owned())
    }
}

/// Number of entries that [`Table::get_ascending`] skips before it descends from the root again, which takes about ten
/// times as long as a skip.
const STEPS_ALONG: usize = 8;

/// A stable map from `K` to records `V`, in key order.
///
/// ```
/// use ic_stable_migrate::Table;
/// use ic_stable_structures::VectorMemory;
///
/// let mut names: Table<u64, String, VectorMemory> = Table::over(VectorMemory::default());
/// names.insert(7, &"seven".to_owned());
/// names.insert_raw(8, vec![0xff]);
/// assert_eq!(names.get(&7)?.as_deref(), Some("seven"));
/// // A record that does not decode is an error with its key, and its bytes can be read.
/// assert_eq!(names.get(&8).unwrap_err().key, "8");
/// assert_eq!(names.get_raw(&8), Some(vec![0xff]));
/// # Ok::<(), ic_stable_migrate::StableError>(())
/// ```
pub struct Table<K: Storable + Ord + Clone, V, M: Memory> {
    /// None until the first record is stored, if [`Table::open`] found an empty memory.
    map: Option<StableBTreeMap<K, Raw, M>>,
    memory: M,
    record: PhantomData<V>,
}

impl<K: Storable + Ord + Clone + Debug, V: Record, M: Memory + Clone> Table<K, V, VirtualMemory<M>> {
    /// Opens the table in the memory `id`. An empty memory stays empty until the first record is stored, since it would
    /// otherwise take a whole bucket. The caller must make sure that the memory contains nothing else.
    pub fn open(memories: &MemoryManager<M>, id: MemoryId) -> Self {
        let memory = memories.get(id);
        if memory.size() > 0 { Self::over(memory) } else { Self { map: None, memory, record: PhantomData } }
    }
}

impl<K: Storable + Ord + Clone + Debug, V: Record, M: Memory + Clone> Table<K, V, M> {
    /// Opens the table in a memory, or creates an empty one. Unlike [`Table::open`], it writes to an empty memory at
    /// once. The caller must make sure that the memory contains nothing else.
    pub fn over(memory: M) -> Self {
        Self { map: Some(open_map(memory.clone())), memory, record: PhantomData }
    }

    /// Returns the map, after creating it if necessary.
    fn map_mut(&mut self) -> &mut StableBTreeMap<K, Raw, M> {
        self.map.get_or_insert_with(|| open_map(self.memory.clone()))
    }

    fn find(&self, key: &K) -> Option<Raw> {
        self.map.as_ref()?.get(key)
    }

    /// Returns the record under `key`.
    ///
    /// # Errors
    /// If the record does not decode.
    pub fn get(&self, key: &K) -> Result<Option<V>, StableError> {
        self.find(key).map(|raw| decode(key, &raw.0)).transpose()
    }

    /// Returns the record under `key`, and the length of its stored bytes.
    ///
    /// # Errors
    /// If the record does not decode.
    pub fn get_with_len(&self, key: &K) -> Result<Option<(V, usize)>, StableError> {
        self.find(key).map(|raw| Ok((decode(key, &raw.0)?, raw.0.len()))).transpose()
    }

    /// Returns the raw bytes under `key`.
    pub fn get_raw(&self, key: &K) -> Option<Vec<u8>> {
        self.find(key).map(|raw| raw.0)
    }

    /// Returns whether there is a record under `key`.
    pub fn contains(&self, key: &K) -> bool {
        self.map.as_ref().is_some_and(|map| map.contains_key(key))
    }

    /// Stores a record, replacing any previous one.
    pub fn insert(&mut self, key: K, value: &V) {
        self.insert_new(key, value);
    }

    /// Stores a record, replacing any previous one, and returns `true` if there was none.
    pub fn insert_new(&mut self, key: K, value: &V) -> bool {
        self.map_mut().insert(key, Raw(value.encode())).is_none()
    }

    /// Stores raw bytes, replacing any previous ones.
    pub fn insert_raw(&mut self, key: K, bytes: Vec<u8>) {
        self.map_mut().insert(key, Raw(bytes));
    }

    /// Removes the record under `key`. Returns `false` if there was none.
    pub fn remove(&mut self, key: &K) -> bool {
        self.take_raw(key).is_some()
    }

    /// Removes and returns the raw bytes under `key`.
    pub fn take_raw(&mut self, key: &K) -> Option<Vec<u8>> {
        self.map.as_mut()?.remove(key).map(|raw| raw.0)
    }

    /// Removes and returns the record under `key`.
    ///
    /// ```
    /// use ic_stable_migrate::Table;
    /// use ic_stable_structures::VectorMemory;
    ///
    /// let mut names: Table<u64, String, VectorMemory> = Table::over(VectorMemory::default());
    /// names.insert(7, &"seven".to_owned());
    /// names.insert_raw(8, vec![0xff]);
    /// assert_eq!(names.take(&7)?.as_deref(), Some("seven"));
    /// assert!(names.take(&8).is_err());
    /// assert_eq!(names.take_raw(&8), Some(vec![0xff]), "a record that does not decode is not removed");
    /// assert!(names.is_empty() && !names.remove(&8));
    /// # Ok::<(), ic_stable_migrate::StableError>(())
    /// ```
    ///
    /// # Errors
    /// If the record does not decode; it is not removed then.
    pub fn take(&mut self, key: &K) -> Result<Option<V>, StableError> {
        let Some(raw) = self.take_raw(key) else {
            return Ok(None);
        };
        let decoded = decode(key, &raw);
        if decoded.is_err() {
            self.insert_raw(key.clone(), raw);
        }
        decoded.map(Some)
    }

    /// Removes all records, in constant time.
    pub fn clear(&mut self) {
        if let Some(map) = &mut self.map {
            map.clear_new();
        }
    }

    /// Returns the number of records.
    pub fn len(&self) -> u64 {
        self.map.as_ref().map_or(0, StableBTreeMap::len)
    }

    /// Returns whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Iterates over the keys in `range`, ascending. Values are not read.
    pub fn keys(&self, range: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = K> + '_ {
        OrEmpty(self.map.as_ref().map(|map| map.keys_range(range)))
    }

    /// Iterates over the keys above `after`, or over all keys if `after` is `None`, ascending. Values are not read.
    ///
    /// ```
    /// use ic_stable_migrate::Table;
    /// use ic_stable_structures::VectorMemory;
    /// use ic_stable_structures::memory_manager::{MemoryId, MemoryManager};
    ///
    /// let memories = MemoryManager::init(VectorMemory::default());
    /// let mut names: Table<u64, String, _> = Table::open(&memories, MemoryId::new(1));
    /// for (key, name) in [(1, "one"), (2, "two"), (5, "five")] {
    ///     assert!(names.insert_new(key, &name.to_owned()));
    /// }
    /// // What `Migration::sources` and `targets` return, page by page.
    /// assert_eq!(names.keys_after(None).take(2).collect::<Vec<_>>(), [1, 2]);
    /// assert_eq!(names.keys_after(Some(&2)).collect::<Vec<_>>(), [5]);
    /// assert_eq!(names.keys(2..).collect::<Vec<_>>(), [2, 5]);
    /// assert_eq!((names.next_key(Some(&2)), names.last_key(), names.len()), (Some(5), Some(5), 3));
    /// assert!(names.contains(&5));
    ///
    /// // The records themselves.
    /// assert_eq!(names.get_with_len(&5)?, Some(("five".to_owned(), 4)));
    /// assert_eq!(names.range(..=1).next().transpose()?, Some((1, "one".to_owned())));
    /// assert_eq!(names.raw_after(Some(&2)).next(), Some((5, b"five".to_vec())));
    /// let found = names.get_ascending(&[1, 3, 5]);
    /// assert_eq!(found.iter().filter(|name| matches!(name, Ok(Some(_)))).count(), 2);
    /// names.clear();
    /// assert!(names.is_empty());
    /// # Ok::<(), ic_stable_migrate::StableError>(())
    /// ```
    pub fn keys_after<'a>(&'a self, after: Option<&K>) -> impl Iterator<Item = K> + use<'a, K, V, M> {
        self.keys(crate::after(after.cloned()))
    }

    /// Iterates over the records above `after`, or over all records if `after` is `None`, as bytes, ascending.
    pub fn raw_after<'a>(
        &'a self,
        after: Option<&K>,
    ) -> impl Iterator<Item = (K, Vec<u8>)> + use<'a, K, V, M> {
        let from = crate::after(after.cloned());
        OrEmpty(self.map.as_ref().map(|map| map.range(from))).map(|entry| {
            let (key, raw) = entry.into_pair();
            (key, raw.0)
        })
    }

    /// Returns the records under ascending keys, in the order of the keys. A key that is close to the previous one in
    /// the table is reached by steps along the table, instead of a descent from the root.
    pub fn get_ascending(&self, keys: &[K]) -> Vec<Result<Option<V>, StableError>> {
        let Some(map) = &self.map else { return keys.iter().map(|_| Ok(None)).collect() };
        let mut walk = None;
        let find = |key: &K| {
            let entries = walk.get_or_insert_with(|| map.range(key..).peekable());
            let is_far = (0..STEPS_ALONG).all(|_| entries.next_if(|entry| entry.key() < key).is_some());
            if is_far {
                *entries = map.range(key..).peekable();
            }
            entries.next_if(|entry| entry.key() == key).map(|entry| decode(key, &entry.value().0)).transpose()
        };
        keys.iter().map(find).collect()
    }

    /// Returns the index of the first of these keys without a record; `None` if each has one. A key that directly
    /// follows the previous one in the table takes one step along the table; any other key takes a descent from the
    /// root.
    pub(crate) fn first_absent(&self, mut keys: impl Iterator<Item = K>) -> Option<usize> {
        let Some(map) = &self.map else { return keys.next().map(|_| 0) };
        let mut walk = None;
        keys.position(|key| {
            let is_next = walk.as_mut().and_then(Iterator::next).is_some_and(|next| next == key);
            !is_next && {
                let mut from_here = map.keys_range(key.clone()..);
                let is_absent = from_here.next().is_none_or(|found| found != key);
                walk = Some(from_here);
                is_absent
            }
        })
    }

    /// Returns the first key above `after`, or the first key of the table if `after` is `None`.
    pub fn next_key(&self, after: Option<&K>) -> Option<K> {
        self.keys_after(after).next()
    }

    /// Returns the last key.
    pub fn last_key(&self) -> Option<K> {
        self.map.as_ref()?.last_key_value().map(|(key, _)| key)
    }

    /// Iterates over the records in `range`, ascending.
    pub fn range(
        &self,
        range: impl RangeBounds<K>,
    ) -> impl DoubleEndedIterator<Item = Result<(K, V), StableError>> + '_ {
        OrEmpty(self.map.as_ref().map(|map| map.range(range))).map(|entry| {
            let (key, raw) = entry.into_pair();
            let value = decode(&key, &raw.0)?;
            Ok((key, value))
        })
    }
}

/// The items of an iterator over a map, or none if there is no map. `Option::into_iter().flatten()` does the same, and
/// costs two thousand instructions more per range.
struct OrEmpty<I>(Option<I>);

impl<I: Iterator> Iterator for OrEmpty<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.0.as_mut()?.next()
    }
}

impl<I: DoubleEndedIterator> DoubleEndedIterator for OrEmpty<I> {
    fn next_back(&mut self) -> Option<I::Item> {
        self.0.as_mut()?.next_back()
    }
}

/// Opens or creates a map. Not inlined, so that all functions that insert share one copy of this code.
#[inline(never)]
fn open_map<K: Storable + Ord + Clone, M: Memory>(memory: M) -> StableBTreeMap<K, Raw, M> {
    StableBTreeMap::init(memory)
}

fn decode<V: Record>(key: &impl Debug, bytes: &[u8]) -> Result<V, StableError> {
    V::decode(bytes).map_err(|reason| StableError { name: V::NAME, key: format!("{key:?}"), reason })
}

/// No value: for tables that are sets.
impl Record for () {
    const NAME: &'static str = "index entry";

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() { Ok(()) } else { Err(format!("{} bytes, expected none", bytes.len())) }
    }
}

/// A number: eight bytes, big-endian.
impl Record for u64 {
    const NAME: &'static str = "number";

    fn encode(&self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        bytes.try_into().map(Self::from_be_bytes).map_err(|_| format!("{} bytes, expected 8", bytes.len()))
    }
}

/// A text: its UTF-8 bytes.
impl Record for String {
    const NAME: &'static str = "text";

    fn encode(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        std::str::from_utf8(bytes).map(Self::from).map_err(|e| e.to_string())
    }
}
