#!/usr/bin/env bash
# junobuild-shared 0.8.2 (crates.io), pages of the lists of a satellite
#
# Expected: `startAfter` is "the key to start after for pagination", in the order of the list, and `matches_pages` is "the
#   total number of pages (starting from 0)", as `items_page` starts from 0 (@junobuild/core 5.4.0, ListPaginate and
#   ListResults).
# Actual: the key is looked for in the list. If it is no longer there, because it was deleted, or no longer matches the
#   filter, the page is empty and has no number, however many keys come after it; in the same list `matches_length` says
#   that there are some. `matches_pages` is a division without remainder: 20 results in tens have the last page 2, which
#   is empty, and 25 have it, too.
# Affected: scripts that read a page, delete or change its documents, and continue after the last key: they end after the
#   first page, with success. The same happens to a reader while someone else deletes. Keep the last key of a page until
#   the next page is read.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use junobuild_shared::data::list::list_values;
use junobuild_shared::types::list::{ListPaginate, ListParams, ListResults};
use junobuild_shared::types::state::{Timestamp, Timestamped};
use std::cmp::Ordering;
use std::collections::BTreeMap;

#[derive(Clone)]
struct Document;

impl Timestamped for Document {
    fn created_at(&self) -> Timestamp { 0 }
    fn updated_at(&self) -> Timestamp { 0 }
    fn cmp_updated_at(&self, _: &Self) -> Ordering { Ordering::Equal }
    fn cmp_created_at(&self, _: &Self) -> Ordering { Ordering::Equal }
}

type Documents = BTreeMap<String, Document>;

fn documents(count: usize) -> Documents {
    (0..count).map(|number| (format!("{number:02}"), Document)).collect()
}

fn page(documents: &Documents, start_after: Option<String>) -> ListResults<Document> {
    let matches: Vec<_> = documents.iter().collect();
    list_values(&matches, &ListParams { paginate: Some(ListPaginate { start_after, limit: Some(10) }), ..Default::default() })
}

fn main() {
    let mut all = documents(25);
    let next = page(&all, Some("09".into()));
    println!("after 09: {} of {}, page {:?}", next.items_length, next.matches_length, next.items_page);
    all.remove("09");
    let next = page(&all, Some("09".into()));
    println!("after 09, which was deleted: {} of {}, page {:?}", next.items_length, next.matches_length, next.items_page);

    let (mut all, mut after) = (documents(25), None);
    loop {
        let next = page(&all, after);
        let Some((last, _)) = next.items.last() else { break };
        after = Some(last.clone());
        next.items.iter().for_each(|(key, _)| { all.remove(key); });
    }
    println!("25 documents, each page deleted before the next one: {} are left", all.len());

    for count in [5, 10, 20, 25] {
        println!("{count} documents in tens: matches_pages {:?}", page(&documents(count), None).matches_pages);
    }
}
EOF
rust_program > seen <<'EOF'
junobuild-shared = "=0.8.2"
EOF
expect_seen <<'EOF'
after 09: 10 of 25, page Some(1)
after 09, which was deleted: 0 of 24, page None
25 documents, each page deleted before the next one: 15 are left
5 documents in tens: matches_pages Some(0)
10 documents in tens: matches_pages Some(1)
20 documents in tens: matches_pages Some(2)
25 documents in tens: matches_pages Some(2)
EOF
