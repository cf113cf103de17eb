//! The macros that make everything about keys from one table.

/// Makes a table of keys: a struct with a field for each, its defaults and its [`Keys`](crate::config::Keys).
/// A row is `name: type = default, unit, bounds, reload or restart, doc;`.
#[macro_export]
macro_rules! keys {
    (
        $(#[doc = $table_doc:literal])*
        $visibility:vis $table:ident {
            $($name:ident: $value:ty = $default:expr, $unit:literal, $bounds:expr, $reloads:ident, $doc:expr;)*
        }
    ) => {
        $(#[doc = $table_doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        $visibility struct $table {
            $(#[doc = $doc] $visibility $name: $value,)*
        }

        impl Default for $table {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl $crate::config::Keys for $table {
            const KEYS: &'static [$crate::config::Key] = &[$($crate::config::Key {
                section: "",
                name: stringify!($name),
                unit: $unit,
                bounds: $bounds,
                reloads: $crate::keys!(@reloads $reloads),
                doc: $doc,
            },)*];

            fn set(&mut self, name: &str, raw: &$crate::config::Raw<'_>) -> Result<(), String> {
                let key = Self::KEYS.iter().find(|key| key.name == name).ok_or("is not in the table")?;
                $(if key.name == stringify!($name) {
                    let value: $value = raw.read()?;
                    key.check_bounds(&value)?;
                    self.$name = value;
                })*
                Ok(())
            }

            fn get(&self, name: &str) -> Option<$crate::config::Value> {
                $(if name == stringify!($name) {
                    return Some($crate::config::Setting::to_toml(&self.$name));
                })*
                None
            }

            fn adopt_reloadable(&mut self, new: &Self) {
                $(if $crate::keys!(@reloads $reloads) {
                    self.$name.clone_from(&new.$name);
                })*
            }
        }
    };
    (@reloads reload) => { true };
    (@reloads restart) => { false };
}

/// Makes a process's configuration of tables: a struct with a field for each, its defaults and its
/// [`Settings`](crate::config::Settings). A section holds the keys of one table or of several:
///
/// ```text
/// settings! {
///     Config of "Ringway" by "ringway config", checked by check {
///         /// What the section is about.
///         gateway { gateway: Gateway = Gateway::default(); numbering: Numbering = Numbering::default(); }
///     }
/// }
/// ```
#[macro_export]
macro_rules! settings {
    (
        $config:ident of $owner:literal by $printed_by:literal, checked by $check:path {
            $(
                $(#[doc = $section_doc:literal])*
                $section:ident { $($field:ident: $table:ty = $default:expr;)* }
            )*
        }
    ) => {
        /// The whole configuration.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) struct $config {
            $($(#[doc = concat!("Keys of the section `", stringify!($section), "`.")] pub(crate) $field: $table,)*)*
        }

        impl Default for $config {
            fn default() -> Self {
                Self { $($($field: $default,)*)* }
            }
        }

        impl $crate::config::Settings for $config {
            const OWNER: &'static str = $owner;
            const PRINTED_BY: &'static str = $printed_by;
            const SECTIONS: &'static [(&'static str, &'static str)] =
                &[$((stringify!($section), concat!($($section_doc,)*)),)*];

            fn keys() -> Vec<$crate::config::Key> {
                let mut keys = Vec::new();
                $($(
                    let table = <$table as $crate::config::Keys>::KEYS;
                    keys.extend(table.iter().map(|key| key.in_section(stringify!($section))));
                )*)*
                keys
            }

            fn set(&mut self, key: &$crate::config::Key, raw: &$crate::config::Raw<'_>) -> Result<(), String> {
                $($(
                    let of_table = <$table as $crate::config::Keys>::KEYS.iter().any(|own| own.name == key.name);
                    if of_table && key.section == stringify!($section) {
                        return $crate::config::Keys::set(&mut self.$field, key.name, raw);
                    }
                )*)*
                Err("is not in the table".to_owned())
            }

            fn get(&self, key: &$crate::config::Key) -> $crate::config::Value {
                $($(
                    if key.section == stringify!($section)
                        && let Some(value) = $crate::config::Keys::get(&self.$field, key.name)
                    {
                        return value;
                    }
                )*)*
                $crate::config::Value::String(String::new())
            }

            fn adopt_reloadable(&mut self, new: &Self) {
                $($($crate::config::Keys::adopt_reloadable(&mut self.$field, &new.$field);)*)*
            }

            fn check(&self) -> anyhow::Result<()> {
                $check(self)
            }
        }
    };
}
