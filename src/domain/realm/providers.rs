//! Which provider's credential a request goes on with, in which header.

use super::OperationSet;
use crate::domain::id::ProviderName;

/// The providers of a realm, in the order of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Providers {
    list: Vec<Provider>,
    /// The header by which a request names one, in lower case.
    named_by: Option<String>,
}

/// A provider whose credentials accounts deposit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Its name.
    pub name: ProviderName,
    /// The header that carries the credential, in lower case.
    pub header: String,
    /// What stands before the credential in it.
    pub before: String,
    /// What stands behind it.
    pub after: String,
    /// The operations that go on with it.
    pub operations: OperationSet,
    /// Whether a request of an account that deposited none is denied.
    pub required: bool,
}

/// A request names a provider that its operation does not go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchProvider;

impl Providers {
    /// Providers, and the header by which requests name one of them.
    #[must_use]
    pub fn new(list: Vec<Provider>, named_by: Option<String>) -> Self {
        Self { list, named_by }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them.
    #[must_use]
    pub fn list(&self) -> &[Provider] {
        &self.list
    }

    /// The one of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Provider> {
        self.list.iter().find(|provider| provider.name.as_str() == name)
    }

    /// The header by which a request names one, in lower case.
    #[must_use]
    pub fn named_by(&self) -> Option<&str> {
        self.named_by.as_deref()
    }

    /// The one that a request of an operation goes to: the one that it names, else the first of the operation.
    ///
    /// # Errors
    /// When it names one that its operation does not go to.
    pub fn chosen(&self, operation: usize, named: Option<&str>) -> Result<Option<&Provider>, NoSuchProvider> {
        let mut serving = self.list.iter().filter(|provider| provider.operations.contains(Some(operation)));
        match named {
            None => Ok(serving.next()),
            Some(name) => {
                let found = serving.clone().find(|provider| provider.name.as_str() == name);
                // Where no credential is released, the header means nothing.
                if found.is_none() && serving.next().is_some() { Err(NoSuchProvider) } else { Ok(found) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(name: &str, operations: OperationSet) -> Provider {
        Provider {
            name: ProviderName::new(name).unwrap(),
            header: "authorization".to_owned(),
            before: "Bearer ".to_owned(),
            after: String::new(),
            operations,
            required: true,
        }
    }

    #[test]
    fn the_one_named_is_chosen_else_the_first_that_serves_the_operation() {
        let list = vec![provider("a", OperationSet::Only(vec![1])), provider("b", OperationSet::Only(vec![0, 1]))];
        let providers = Providers::new(list, None);
        let chosen =
            |operation, named| providers.chosen(operation, named).map(|found| found.map(|found| found.name.as_str()));
        assert_eq!(chosen(0, None), Ok(Some("b")));
        assert_eq!(chosen(1, None), Ok(Some("a")));
        assert_eq!(chosen(1, Some("b")), Ok(Some("b")));
        assert_eq!(chosen(0, Some("a")), Err(NoSuchProvider));
        assert_eq!(chosen(1, Some("")), Err(NoSuchProvider));
        assert_eq!([chosen(2, None), chosen(2, Some("a"))], [Ok(None), Ok(None)]);
    }
}
