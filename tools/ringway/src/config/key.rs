//! One key of the configuration, and the macro that makes everything about keys from one table.

use super::value::Setting;

/// What is known of a key besides its value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    /// Its section.
    pub(crate) section: &'static str,
    /// Its name in the section.
    pub(crate) name: &'static str,
    /// Unit of its value; empty when it has none.
    pub(crate) unit: &'static str,
    /// Smallest and largest value, of a number.
    pub(crate) bounds: Option<(u64, u64)>,
    /// Whether a change takes effect on SIGHUP.
    pub(crate) reloads: bool,
    /// What it is.
    pub(crate) doc: &'static str,
}

impl Key {
    /// `section.name`.
    pub(crate) fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The environment variable that sets it.
    pub(crate) fn variable(&self) -> String {
        format!("RINGWAY_{}_{}", self.section, self.name).to_uppercase()
    }

    /// Refuses a number outside the bounds.
    pub(super) fn check_bounds<T: Setting>(&self, value: &T) -> Result<(), String> {
        match (self.bounds, value.number()) {
            (Some((min, max)), Some(number)) if number < min || number > max => {
                Err(format!("must lie between {min} and {max}, not {number}"))
            }
            _ => Ok(()),
        }
    }
}

/// Makes the configuration's types and functions from its table. A row is
/// `name: type = default, unit, bounds, reloads, doc;`.
macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])*
        $section:ident: $type:ident {
            $($name:ident: $value:ty = $default:expr, $unit:literal, $bounds:expr, $reloads:ident, $doc:expr;)*
        }
    )*) => {
        /// The whole configuration.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub(crate) struct Config {
            $($(#[doc = $section_doc])* pub(crate) $section: $type,)*
        }

        $(
            $(#[doc = $section_doc])*
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub(crate) struct $type {
                $(#[doc = $doc] pub(crate) $name: $value,)*
            }

            impl Default for $type {
                fn default() -> Self {
                    Self { $($name: $default,)* }
                }
            }
        )*

        /// Sections with what they are about, in the order in which they are printed.
        pub(crate) const SECTIONS: &[(&str, &str)] =
            &[$((stringify!($section), concat!($($section_doc,)*)),)*];

        /// All keys, in the order in which they are printed.
        pub(crate) const KEYS: &[$crate::config::key::Key] = &[$($($crate::config::key::Key {
            section: stringify!($section),
            name: stringify!($name),
            unit: $unit,
            bounds: $bounds,
            reloads: settings!(@reloads $reloads),
            doc: $doc,
        },)*)*];

        impl Config {
            /// Sets one key.
            pub(super) fn set(
                &mut self,
                key: &$crate::config::key::Key,
                raw: &$crate::config::value::Raw<'_>,
            ) -> Result<(), String> {
                $($(if key.section == stringify!($section) && key.name == stringify!($name) {
                    let value: $value = raw.read()?;
                    key.check_bounds(&value)?;
                    self.$section.$name = value;
                    return Ok(());
                })*)*
                Err("is not in the table".to_owned())
            }

            /// The value of one key, as TOML.
            pub(crate) fn get(&self, key: &$crate::config::key::Key) -> toml::Value {
                $($(if key.section == stringify!($section) && key.name == stringify!($name) {
                    return $crate::config::value::Setting::to_toml(&self.$section.$name);
                })*)*
                toml::Value::String(String::new())
            }

            /// Takes over the values of those keys that may change while running.
            pub(crate) fn adopt_reloadable(&mut self, new: &Self) {
                $($(if settings!(@reloads $reloads) {
                    self.$section.$name.clone_from(&new.$section.$name);
                })*)*
            }
        }
    };
    (@reloads reload) => { true };
    (@reloads restart) => { false };
}

pub(super) use settings;
