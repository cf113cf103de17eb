//! How many devices a user may have connected.

use ringway_engine::devices::{DevicePolicy, PlatformClass};
use ringway_engine::limits::DEVICES_PER_USER_MAX;

use super::{LARGEST, to_usize};

crate::keys! {
    /// The section `devices`.
    pub Devices {
        sessions_max: u64 = DEVICES_PER_USER_MAX as u64, "sessions", Some((1, LARGEST)), reload,
            "Of all platforms together.";
        mobile_max: u64 = 0, "sessions", Some((0, LARGEST)), reload,
            "Of ios, android, mobile, harmony. 0: no limit of their own.";
        desktop_max: u64 = 0, "sessions", Some((0, LARGEST)), reload,
            "Of windows, macos, linux, desktop. 0: no limit of their own.";
        web_max: u64 = 0, "sessions", Some((0, LARGEST)), reload,
            "Of web. 0: no limit of their own.";
    }
}

impl Devices {
    /// What the gateway is told.
    #[must_use]
    pub fn policy(&self) -> DevicePolicy {
        let classes = [
            (PlatformClass::Mobile, self.mobile_max),
            (PlatformClass::Desktop, self.desktop_max),
            (PlatformClass::Web, self.web_max),
        ];
        let limited = classes.into_iter().filter(|class| class.1 > 0);
        DevicePolicy {
            sessions_max: to_usize(self.sessions_max),
            class_max: limited.map(|(class, max)| (class, to_usize(max))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_device_classes_count_only_when_set() {
        assert!(Devices::default().policy().class_max.is_empty());
        let devices = Devices { web_max: 2, ..Devices::default() };
        assert_eq!(devices.policy().class_max, [(PlatformClass::Web, 2)]);
    }
}
