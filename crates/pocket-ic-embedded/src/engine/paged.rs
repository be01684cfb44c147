//! Sparse bytes in shared pages: the representation of wasm and stable memories between messages.
//!
//! The pages are leaves of a tree of [`Arc`]s: a clone copies one pointer, and a write copies at most the list of
//! groups (500 for 500 GiB) and the groups, nodes and pages that it touches. A missing page is all zeros. Callers
//! handle sizes and bounds.

use super::allocator;
use super::page_file::{PAGE, PageFile, StoredPage};
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Pages in a node, and nodes in a group: a node covers 4 MiB, a group 1 GiB.
const FANOUT: usize = 256;

/// A page of a memory: in the host's memory, or in a file.
#[derive(Clone)]
enum Page {
    Resident(Arc<[u8; PAGE]>),
    Stored(Arc<StoredPage>),
}

type Node = [Option<Page>; FANOUT];
type Group = [Option<Arc<Node>>; FANOUT];

static ZEROS: [u8; PAGE] = [0; PAGE];

#[derive(Clone, Default)]
pub(super) struct Paged {
    groups: Arc<Vec<Option<Arc<Group>>>>,
    /// Number of pages that have come into the host's memory since the pages were last moved to a file: after a failed
    /// move, fewer than are there.
    resident: usize,
}

impl fmt::Debug for Paged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Paged({} groups)", self.groups.len())
    }
}

impl Paged {
    /// Returns whether both are unchanged clones of the same bytes; if `false`, their bytes may still be equal.
    pub(super) fn is_clone_of(&self, other: &Paged) -> bool {
        Arc::ptr_eq(&self.groups, &other.groups)
    }

    /// Returns a memory that has the pages of a file that contain these ranges, without reading them. The file must no
    /// longer change.
    pub(super) fn from_file(file: &Arc<PageFile>, data: &[Range<u64>]) -> Paged {
        let mut paged = Paged::default();
        for range in data {
            for index in range.start / PAGE as u64..range.end.div_ceil(PAGE as u64) {
                *paged.slot(index as usize) = Some(Page::Stored(Arc::new(file.page(index))));
            }
        }
        paged
    }

    /// Returns the number of pages in the host's memory that are not shared with `other`.
    #[cfg(test)]
    pub(super) fn unshared_pages(&self, other: &Paged) -> u64 {
        if self.is_clone_of(other) {
            return 0;
        }
        let nodes = (0..self.groups.len() * FANOUT).filter(|index| {
            let node = self.node(*index);
            node.is_some() && !same_arc(node, other.node(*index))
        });
        let pages = nodes.flat_map(|node| node * FANOUT..(node + 1) * FANOUT);
        pages
            .filter(|index| {
                let page = self.page(*index);
                matches!(page, Some(Page::Resident(_))) && !same_page(page, other.page(*index))
            })
            .count() as u64
    }

    /// Returns whether no page exists for the `len` bytes at `offset`, so that they are zeros.
    pub(super) fn is_untouched(&self, offset: u64, len: usize) -> bool {
        pieces(offset, len).all(|(index, _, _)| self.page(index).is_none())
    }

    fn node(&self, index: usize) -> Option<&Arc<Node>> {
        self.groups.get(index / FANOUT)?.as_ref()?[index % FANOUT].as_ref()
    }

    fn page(&self, index: usize) -> Option<&Page> {
        self.node(index / FANOUT)?[index % FANOUT].as_ref()
    }

    /// Returns the place of a page, to be changed. Copies or creates the groups and nodes that lead to it.
    fn slot(&mut self, index: usize) -> &mut Option<Page> {
        let (node, page) = (index / FANOUT, index % FANOUT);
        let (group, node) = (node / FANOUT, node % FANOUT);
        let groups = Arc::make_mut(&mut self.groups);
        if groups.len() <= group {
            groups.resize(group + 1, None);
        }
        let nodes = Arc::make_mut(groups[group].get_or_insert_with(|| Arc::new([const { None }; FANOUT])));
        let pages = Arc::make_mut(nodes[node].get_or_insert_with(|| Arc::new([const { None }; FANOUT])));
        &mut pages[page]
    }

    /// Fills `buf` with the bytes from `offset` on.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) {
        for (index, start, range) in pieces(offset, buf.len()) {
            let part = &mut buf[range];
            match self.page(index) {
                Some(Page::Resident(page)) => part.copy_from_slice(&page[start..start + part.len()]),
                Some(Page::Stored(page)) => page.read(start, part),
                None => part.fill(0),
            }
        }
    }

    /// Writes `bytes` at `offset`. Zeros written to a missing page leave it missing.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (index, start, range) in pieces(offset, bytes.len()) {
            let part = &bytes[range];
            let was_resident = match self.page(index) {
                None if *part == ZEROS[..part.len()] => continue,
                page => matches!(page, Some(Page::Resident(_))),
            };
            self.resident += usize::from(!was_resident);
            let slot = self.slot(index);
            if part.len() == PAGE {
                *slot = Some(Page::Resident(to_page(part)));
                continue;
            }
            let mut page = match slot.take() {
                Some(Page::Resident(page)) => page,
                stored => Arc::new(page_bytes(stored.as_ref()).into_owned()),
            };
            Arc::make_mut(&mut page)[start..start + part.len()].copy_from_slice(part);
            *slot = Some(Page::Resident(page));
        }
    }

    /// Moves all pages to a temporary file if more than `limit` have come into the host's memory since the last move.
    /// Pages that cannot be moved stay there until the next move.
    pub(super) fn limit_resident(&mut self, limit: usize) {
        if self.resident <= limit {
            return;
        }
        self.resident = 0;
        let Some(file) = PageFile::temporary() else { return };
        let is_resident = |page: &Option<Page>| matches!(page, Some(Page::Resident(_)));
        for group in Arc::make_mut(&mut self.groups).iter_mut().flatten() {
            if !group.iter().flatten().any(|node| node.iter().any(is_resident)) {
                continue;
            }
            for node in Arc::make_mut(group).iter_mut().flatten() {
                if !node.iter().any(is_resident) {
                    continue;
                }
                for page in Arc::make_mut(node).iter_mut().flatten() {
                    let Page::Resident(bytes) = page else { continue };
                    let Ok(stored) = file.store(bytes) else { return };
                    *page = Page::Stored(Arc::new(stored));
                }
            }
        }
        // Each thread allocates from its own arena, and messages run on many threads, so unused memory is returned
        // explicitly.
        allocator::return_unused_memory();
    }

    /// Makes the pages equal to `memory`, which starts at offset 0 and has not become smaller; returns the number of
    /// 4 KiB pages that differed.
    pub(super) fn capture(&mut self, memory: &[u8]) -> u64 {
        let mut changed = 0;
        for (index, chunk) in memory.chunks(PAGE).enumerate() {
            let page = page_bytes(self.page(index));
            let before = &page[..chunk.len()];
            if before != chunk {
                changed += count_differing(before, chunk);
                self.write((index * PAGE) as u64, chunk);
            }
        }
        changed
    }

    /// Changes `memory`, which must have the contents of `self`, to those of `target`; writes only to pages that `self`
    /// and `target` do not share.
    pub(super) fn restore(&self, target: &Paged, memory: &mut [u8]) {
        if self.is_clone_of(target) {
            return;
        }
        for index in 0..memory.len().div_ceil(FANOUT * PAGE) {
            if same_arc(self.node(index), target.node(index)) {
                continue;
            }
            for page in index * FANOUT..(index + 1) * FANOUT {
                let start = page * PAGE;
                if start >= memory.len() {
                    break;
                }
                let (current, wanted) = (self.page(page), target.page(page));
                if same_page(current, wanted) {
                    continue;
                }
                let end = memory.len().min(start + PAGE);
                let part = &mut memory[start..end];
                part.copy_from_slice(&page_bytes(wanted)[..part.len()]);
            }
        }
    }
}

/// Returns how many 4 KiB pages of two equally long pieces of memory differ.
fn count_differing(before: &[u8], after: &[u8]) -> u64 {
    const COUNTED_PAGE: usize = 4096;
    before
        .chunks(COUNTED_PAGE)
        .zip(after.chunks(COUNTED_PAGE))
        .filter(|(before, after)| before != after)
        .count() as u64
}

fn same_arc<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

/// Returns whether both are the same stored page or the same bytes in memory; equal bytes at two places do not count.
fn same_page(a: Option<&Page>, b: Option<&Page>) -> bool {
    match (a, b) {
        (Some(Page::Resident(a)), Some(Page::Resident(b))) => Arc::ptr_eq(a, b),
        (Some(Page::Stored(a)), Some(Page::Stored(b))) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

/// Returns the bytes of a page; zeros for a missing one.
fn page_bytes(page: Option<&Page>) -> Cow<'_, [u8; PAGE]> {
    match page {
        None => Cow::Borrowed(&ZEROS),
        Some(Page::Resident(bytes)) => Cow::Borrowed(bytes),
        Some(Page::Stored(page)) => {
            let mut bytes = ZEROS;
            page.read(0, &mut bytes);
            Cow::Owned(bytes)
        }
    }
}

fn to_page(bytes: &[u8]) -> Arc<[u8; PAGE]> {
    let mut page = Arc::new(ZEROS);
    Arc::make_mut(&mut page).copy_from_slice(bytes);
    page
}

/// Splits `offset..offset + len` at page borders. For each piece: index of the page, start within the page, range
/// within a buffer of `len` bytes.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (usize, usize, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let start = (at % PAGE as u64) as usize;
        let take = (PAGE - start).min(len - done);
        let range = done..done + take;
        done += take;
        Some(((at / PAGE as u64) as usize, start, range))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Two and a half nodes and a quarter of a page, for borders between nodes and an incomplete last page.
    const BYTES: usize = FANOUT * PAGE * 5 / 2 + 4096;

    fn filled(writes: &[(prop::sample::Index, u8)], base: &Paged) -> Paged {
        let mut paged = base.clone();
        for (place, byte) in writes {
            paged.write(place.index(BYTES) as u64, &[*byte]);
        }
        paged
    }

    fn bytes(paged: &Paged) -> Vec<u8> {
        let mut bytes = vec![0; BYTES];
        paged.read(0, &mut bytes);
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_restored_memory_has_the_bytes_of_its_target(
            shared in vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            now in vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            then in vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        ) {
            let shared = filled(&shared, &Paged::default());
            let (now, then) = (filled(&now, &shared), filled(&then, &shared));
            let mut memory = bytes(&now);
            now.restore(&then, &mut memory);
            prop_assert!(memory == bytes(&then));
        }
    }
}
