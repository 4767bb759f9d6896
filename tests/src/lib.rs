//! What tests of the whole share: the built components and guests by path, a whole host, the moods
//! of its Dapr, how benchmarks measure and print, and how suites of faults draw and tell.

pub mod conformance;
pub mod dice;
pub mod faults;
pub mod figures;
pub mod folder;
pub mod host;
pub mod moods;
pub mod proxy;
pub mod tally;

pub mod built {
    //! Paths of the components and guests as built for the sandbox, and [`foreach_guest`], by which
    //! a guest without a test does not compile.
    //!
    //! [`foreach_guest`]: crate::foreach_guest

    include!(concat!(env!("OUT_DIR"), "/built.rs"));
}
