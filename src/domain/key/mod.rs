//! Keys: their text form, their keyed digests, their records, and what may happen to them.

mod digest;
mod format;
mod idempotency;
mod lifecycle;
mod record;
mod ring;
mod usage;

pub use digest::{Digest, DigestScheme, HashAlgorithm, HashedPart, RealmDigester, RecordMac};
pub use format::{FormatError, HintStyle, KeyFormat, LegacyFormat, TextForm, hint};
pub use idempotency::{IdempotencyRecord, Repeat, Repeatable, RequestMarker};
pub use lifecycle::{
    Acting, Creation, ImportedKey, KeyPatch, LifecycleError, Minted, StatePatch, adopt, check_beginning, create,
    end_all, end_all_with, expiry, rekey, revoke, rotate, update,
};
pub use record::{KeyRecord, KeySecret, KeySnapshot, KeyState, Limits, Revocation};
pub use ring::{SecretMark, SecretPhase, SecretRing, SecretState, ServerSecret};
pub use usage::{KeyUse, KeyUses, LastUse, Noted, PendingUse, SecretUse, UsesOf};
