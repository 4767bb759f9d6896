//! All SQL of the ledger's own tables, the same for both databases; where it must differ, see
//! [`super::database`].

pub mod by_hand;
pub mod claims;
pub mod group;
pub mod look;
pub mod matching;
pub mod migrate;
pub mod prune;
pub mod query;
pub mod readers;
pub mod recordings;
pub mod releases;
pub mod row;
pub mod writer;
