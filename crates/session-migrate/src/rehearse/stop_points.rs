//! Stop points: the states in which uploads are interrupted, and their assignment to the uploads.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;
use serde::{Deserialize, Serialize};

/// State of an upload when the canister is first upgraded to the staged build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopPoint {
    /// The client has not called yet.
    NotBegun,
    /// Begun; no chunk was sent.
    Begun,
    /// Chunks before and after a missing chunk are stored. For an upload that was already in flight in the operator's
    /// snapshot: at least one chunk is stored and at least one is missing, perhaps only at the end.
    Hole,
    /// All chunks are stored; finish was not called.
    Complete,
    /// Finished.
    Finished,
    /// Aborted by the client, after it has sent at least one chunk.
    Aborted,
}

impl StopPoint {
    /// The order in which points are assigned: first those that a migration is most likely to break.
    const ORDER: [StopPoint; 6] = [
        StopPoint::Hole,
        StopPoint::Complete,
        StopPoint::Begun,
        StopPoint::Finished,
        StopPoint::Aborted,
        StopPoint::NotBegun,
    ];

    /// Returns the name in reports.
    pub fn name(self) -> &'static str {
        match self {
            StopPoint::NotBegun => "not_begun",
            StopPoint::Begun => "begun",
            StopPoint::Hole => "hole",
            StopPoint::Complete => "complete",
            StopPoint::Finished => "finished",
            StopPoint::Aborted => "aborted",
        }
    }

    /// Returns whether the canister has an unfinished session at this point.
    pub fn is_in_flight(self) -> bool {
        matches!(self, StopPoint::Begun | StopPoint::Hole | StopPoint::Complete)
    }

    fn is_possible_with(self, chunks: u32) -> bool {
        self != StopPoint::Hole || chunks >= 3
    }
}

/// Assigns a point to each upload, given its number of chunks. Starting with the largest upload, each gets the possible
/// point that was assigned least often so far.
pub(super) fn assign(chunks: &[u32]) -> Vec<StopPoint> {
    let mut order: Vec<usize> = (0..chunks.len()).collect();
    order.sort_by_key(|&upload| std::cmp::Reverse(chunks[upload]));
    let mut use_counts = [0usize; StopPoint::ORDER.len()];
    let mut points = vec![StopPoint::NotBegun; chunks.len()];
    for upload in order {
        let least = StopPoint::ORDER
            .iter()
            .enumerate()
            .filter(|(_, point)| point.is_possible_with(chunks[upload]))
            .min_by_key(|(index, _)| use_counts[*index]);
        if let Some((index, point)) = least {
            use_counts[index] += 1;
            points[upload] = *point;
        }
    }
    points
}

/// Returns notes on the points that are not assigned to any upload: those that no file can have, and those for which
/// there were too few uploads.
pub(super) fn unassigned_notes(chunks: &[u32], points: &[StopPoint]) -> Vec<String> {
    let missing = StopPoint::ORDER.into_iter().filter(|point| !points.contains(point));
    let (too_few, impossible): (Vec<_>, Vec<_>) =
        missing.partition(|point| chunks.iter().any(|&count| point.is_possible_with(count)));
    let names = |points: &[StopPoint]| points.iter().map(|point| point.name()).collect::<Vec<_>>().join(", ");
    let mut notes = Vec::new();
    if !impossible.is_empty() {
        let names = names(&impossible);
        notes.push(format!("no file has three chunks or more, so no upload can stop at: {names}"));
    }
    if !too_few.is_empty() {
        let names = names(&too_few);
        notes.push(format!("with more clients or files, uploads would also stop at: {names}"));
    }
    notes
}

/// Chooses the chunks to send so that some between them are missing: the first, the last and about half of the others.
/// Returns them in random order. Needs at least three chunks.
pub(super) fn chunks_with_a_hole(chunks: u32, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let inner = chunks.saturating_sub(2);
    let mut middle: Vec<u32> = (1..=inner).collect();
    shuffle(&mut middle, rng);
    middle.truncate((inner / 2) as usize);
    let mut sent = vec![0, chunks.saturating_sub(1)];
    sent.extend(middle);
    shuffle(&mut sent, rng);
    sent
}

pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        // The bias of the remainder does not matter here: indices are below 2^32.
        let other = (rng.next_u64() % (last as u64 + 1)) as usize;
        items.swap(last, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn the_default_set_stops_at_every_point() {
        // Three clients, each with the generated original and its three derivatives.
        let chunks: Vec<u32> = (0..3).flat_map(|_| [13, 1, 1, 1]).collect();
        let points = assign(&chunks);
        assert!(unassigned_notes(&chunks, &points).is_empty());
        for point in StopPoint::ORDER {
            assert!(points.contains(&point), "{point:?}");
        }
        assert!(points.iter().zip(&chunks).all(|(point, &count)| point.is_possible_with(count)));
        assert_eq!(points[0], StopPoint::Hole);
    }

    #[test]
    fn small_files_cannot_have_a_hole_and_a_note_says_so() {
        let chunks = [1, 2, 1, 1, 1, 1, 2];
        let points = assign(&chunks);
        assert!(!points.contains(&StopPoint::Hole));
        let notes = unassigned_notes(&chunks, &points);
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains("three chunks") && notes[0].ends_with(": hole"), "{notes:?}");
    }

    #[test]
    fn too_few_uploads_are_named_as_the_reason() {
        let points = assign(&[13]);
        assert_eq!(points, [StopPoint::Hole]);
        let notes = unassigned_notes(&[13], &points);
        assert_eq!(notes.len(), 1);
        assert!(notes[0].ends_with("complete, begun, finished, aborted, not_begun"), "{notes:?}");
    }

    #[test]
    fn a_hole_has_chunks_on_both_sides() {
        for chunks in 3..40 {
            for seed in 0..5 {
                let mut sent = chunks_with_a_hole(chunks, &mut ChaCha8Rng::seed_from_u64(seed));
                sent.sort();
                assert_eq!(sent.first(), Some(&0));
                assert_eq!(sent.last(), Some(&(chunks - 1)));
                assert!(sent.len() < chunks as usize, "{chunks}: {sent:?}");
                sent.dedup();
                assert!(sent.len() >= 2);
            }
        }
    }
}
