//! How much a configuration may hold. These numbers stand here and in `docs/realms.md`, nowhere else.

/// Bytes of one configuration file.
pub const FILE_BYTES: u64 = 1_048_576;
/// Realms of one server, beside the built-in one.
pub const REALMS: usize = 256;
/// Environments of a realm.
pub const ENVIRONMENTS: usize = 16;
/// Places where a realm's requests may carry the credential.
pub const CREDENTIALS: usize = 8;
/// Issuers of access tokens of a realm.
pub const ISSUERS: usize = 8;
/// Audiences of one issuer.
pub const AUDIENCES: usize = 16;
/// Scopes of a realm.
pub const SCOPES: usize = 64;
/// Operations of a realm.
pub const OPERATIONS: usize = 256;
/// Routes of an operation, and gRPC methods of an operation.
pub const ROUTES: usize = 64;
/// Limits of a realm.
pub const LIMITS: usize = 64;
/// Roles that members of a realm's accounts may have.
pub const MEMBER_ROLES: usize = 16;
/// Rows of a realm's error table.
pub const ERRORS: usize = 64;
/// Headers of one error.
pub const ERROR_HEADERS: usize = 16;
/// Certificates that manage.
pub const CERTIFICATES: usize = 256;
/// Webhooks of a realm.
pub const WEBHOOKS: usize = 16;
/// Kinds of events that a webhook names.
pub const EVENTS: usize = 64;
/// Bytes of a webhook's address.
pub const URL_BYTES: usize = 2_048;
/// Formats of keys made elsewhere.
pub const LEGACY_FORMATS: usize = 16;
/// Bytes of an error's body template.
pub const BODY_BYTES: usize = 16_384;
/// Bytes of an error's message, and of a header's value.
pub const MESSAGE_BYTES: usize = 1_024;
/// Bytes of a realm's title.
pub const TITLE_BYTES: usize = 128;
/// Bytes of a realm file's names for operations, limits and error codes.
pub const NAME_BYTES: usize = 64;
/// Providers of a realm.
pub const PROVIDERS: usize = 16;
/// Bytes of the value of a provider's header, without the credential.
pub const PROVIDER_VALUE_BYTES: usize = 256;
/// Attributes that a server tells of itself in traces.
pub const ATTRIBUTES: usize = 64;
/// Key-encryption keys of a server.
pub const KEKS: usize = 16;
/// Hosts, and domains, that the settings assign to realms.
pub const ROUTING: usize = 1_024;
/// Bytes of a domain of rate limits.
pub const DOMAIN_BYTES: usize = 256;
/// Entries of the descriptors that a limit applies to.
pub const ENTRIES: usize = 32;
/// Bytes of a key, and of a value, of such an entry.
pub const ENTRY_BYTES: usize = 256;
