//! BEP 10: the extensions that a peer and we have for each other.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};

use crate::wire::{metadata, pex};

/// The ids under which we want messages of extensions. They are ours to choose, and never change.
pub(crate) const PEX_ID: u8 = 1;
pub(crate) const METADATA_ID: u8 = 2;

/// Named by peers that can arrange connections through address translators (BEP 55).
const HOLEPUNCH: &str = "ut_holepunch";

/// What we name in the extended handshake.
pub(crate) fn ours(pex: bool) -> BTreeMap<String, u8> {
    // A peer that was told otherwise before hears that it is off.
    let pex_id = if pex { PEX_ID } else { 0 };
    [(metadata::NAME, METADATA_ID), (pex::NAME, pex_id)]
        .map(|(name, id)| (name.to_string(), id))
        .into()
}

/// The ids under which a peer wants messages of the extensions that we know; 0 where it has none. Those
/// that we don't know are not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    pub(crate) metadata: u8,
    pub(crate) pex: u8,
    pub(crate) holepunch: u8,
}

impl Extensions {
    /// Takes over what an extended handshake changes: what it does not name stays as it was.
    pub(crate) fn update(&mut self, named: &BTreeMap<String, u8>) {
        for (name, slot) in [
            (metadata::NAME, &mut self.metadata),
            (pex::NAME, &mut self.pex),
            (HOLEPUNCH, &mut self.holepunch),
        ] {
            if let Some(id) = named.get(name) {
                *slot = *id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[(&str, u8)]) -> BTreeMap<String, u8> {
        let names = names.iter();
        names.map(|(name, id)| (name.to_string(), *id)).collect()
    }

    #[test]
    fn a_later_handshake_changes_what_it_names_and_nothing_else() {
        let mut extensions = Extensions::default();
        extensions.update(&named(&[("ut_pex", 7), ("ut_metadata", 9), ("other", 1)]));
        extensions.update(&named(&[("ut_pex", 0)]));
        let expected = Extensions {
            metadata: 9,
            ..Extensions::default()
        };
        assert_eq!(extensions, expected);
    }

    #[test]
    fn what_is_off_is_named_as_off() {
        assert_eq!(ours(false)["ut_pex"], 0);
        assert_eq!(ours(true)["ut_pex"], PEX_ID);
    }
}
