//! `wharf:worker/delivery`: how the event came in.

use wasmtime::component::{HasData, Linker};

use crate::event::{Decoded, WireEvent};
use crate::runtime::invoke::Run;
use crate::runtime::world::wharf::worker::delivery;

pub fn link(linker: &mut Linker<Run>) -> wasmtime::Result<()> {
    delivery::add_to_linker::<Run, Linked>(linker, |run| View {
        decoded: &run.call.decoded,
        wire: &run.call.wire,
    })
}

struct Linked;

impl HasData for Linked {
    type Data<'a> = View<'a>;
}

struct View<'a> {
    decoded: &'a Decoded,
    wire: &'a WireEvent,
}

impl delivery::Host for View<'_> {
    fn wire(&mut self) -> wasmtime::Result<Vec<u8>> {
        Ok(self.wire.bytes.to_vec())
    }

    fn pubsub(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self.decoded.pubsub.as_ref().map(ToString::to_string))
    }

    fn topic(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self.decoded.topic.as_ref().map(ToString::to_string))
    }

    fn wire_type(&mut self) -> wasmtime::Result<String> {
        Ok(self.decoded.wire_type.clone())
    }
}
