//! Which sessions of a user must go when another one opens.

use crate::errors::CloseCode;
use crate::ids::DeviceId;
use crate::limits::DEVICES_PER_USER_MAX;

/// Kinds of devices that limits may be set for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlatformClass {
    /// `ios`, `android`, `mobile`, `harmony`.
    Mobile,
    /// `windows`, `macos`, `linux`, `desktop`.
    Desktop,
    /// `web`.
    Web,
    /// Anything else.
    Other,
}

impl PlatformClass {
    /// The class of a `platform` as clients name it.
    #[must_use]
    pub fn of(platform: &str) -> Self {
        match platform {
            "ios" | "android" | "mobile" | "harmony" => Self::Mobile,
            "windows" | "macos" | "linux" | "desktop" => Self::Desktop,
            "web" => Self::Web,
            _ => Self::Other,
        }
    }

    /// A `platform` of this class, the same for every version.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mobile => "mobile",
            Self::Desktop => "desktop",
            Self::Web => "web",
            Self::Other => "other",
        }
    }
}

/// How many sessions one user may hold.
#[derive(Debug, Clone)]
pub struct DevicePolicy {
    /// In all.
    pub sessions_max: usize,
    /// Of single classes; a class that is not named has no limit of its own.
    pub class_max: Vec<(PlatformClass, usize)>,
}

impl Default for DevicePolicy {
    fn default() -> Self {
        Self { sessions_max: DEVICES_PER_USER_MAX, class_max: Vec::new() }
    }
}

/// One live session, as the policy sees it.
#[derive(Debug, Clone)]
pub struct LiveSession<K> {
    /// Names the session to the caller.
    pub key: K,
    /// Its device.
    pub device: DeviceId,
    /// Its class.
    pub class: PlatformClass,
    /// Rises with each session that is opened.
    pub opened: u64,
}

/// Why a session is kicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KickReason {
    /// The same device connected again.
    SameDevice,
    /// The user has too many sessions.
    DeviceLimit,
    /// The user has too many sessions of this class.
    PlatformLimit,
    /// The sign-in it came from was revoked.
    Revoked,
}

impl KickReason {
    /// The reason of this [`KickReason::name`].
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::SameDevice, Self::DeviceLimit, Self::PlatformLimit, Self::Revoked]
            .into_iter()
            .find(|reason| reason.name() == name)
    }

    /// As it stands in `kicked`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SameDevice => "same_device",
            Self::DeviceLimit => "device_limit",
            Self::PlatformLimit => "platform_limit",
            Self::Revoked => "revoked",
        }
    }

    /// The close code that follows.
    #[must_use]
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::SameDevice => CloseCode::KickedSameDevice,
            Self::DeviceLimit => CloseCode::KickedDeviceLimit,
            Self::PlatformLimit => CloseCode::KickedPlatformLimit,
            Self::Revoked => CloseCode::Revoked,
        }
    }
}

/// Who of `live` must go so that a session on `device` of `class` may open: the same device first, then
/// the oldest past the class limit, then the oldest past the limit in all.
#[must_use]
pub fn admit<K: Copy + PartialEq>(
    live: &[LiveSession<K>],
    device: &DeviceId,
    class: PlatformClass,
    policy: &DevicePolicy,
) -> Vec<(K, KickReason)> {
    let mut kicked: Vec<(K, KickReason)> = live
        .iter()
        .filter(|session| session.device == *device)
        .map(|session| (session.key, KickReason::SameDevice))
        .collect();
    let mut rest: Vec<&LiveSession<K>> = live.iter().filter(|session| session.device != *device).collect();
    rest.sort_by_key(|session| session.opened);
    if let Some((_, max)) = policy.class_max.iter().find(|limit| limit.0 == class) {
        let same = rest.iter().filter(|session| session.class == class).count();
        let mut surplus = (same + 1).saturating_sub((*max).max(1));
        rest.retain(|session| {
            let goes = surplus > 0 && session.class == class;
            if goes {
                surplus -= 1;
                kicked.push((session.key, KickReason::PlatformLimit));
            }
            !goes
        });
    }
    let surplus = (rest.len() + 1).saturating_sub(policy.sessions_max.max(1));
    kicked.extend(rest.iter().take(surplus).map(|session| (session.key, KickReason::DeviceLimit)));
    kicked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(sessions: &[(u32, &str, PlatformClass)]) -> Vec<LiveSession<u32>> {
        sessions
            .iter()
            .map(|(key, device, class)| LiveSession {
                key: *key,
                device: DeviceId::parse(device).unwrap(),
                class: *class,
                opened: u64::from(*key),
            })
            .collect()
    }

    fn check(sessions: &[(u32, &str, PlatformClass)], policy: &DevicePolicy, expected: &[(u32, KickReason)]) {
        let device = DeviceId::parse("new").unwrap();
        assert_eq!(admit(&live(sessions), &device, PlatformClass::Mobile, policy), expected);
    }

    #[test]
    fn the_same_device_replaces_itself_and_nobody_else() {
        let policy = DevicePolicy { sessions_max: 2, class_max: vec![] };
        check(
            &[(1, "old", PlatformClass::Web), (2, "new", PlatformClass::Mobile)],
            &policy,
            &[(2, KickReason::SameDevice)],
        );
    }

    #[test]
    fn the_oldest_of_a_full_class_goes() {
        let policy = DevicePolicy { sessions_max: 16, class_max: vec![(PlatformClass::Mobile, 1)] };
        let sessions = [(1, "a", PlatformClass::Web), (3, "b", PlatformClass::Mobile), (2, "c", PlatformClass::Mobile)];
        check(&sessions, &policy, &[(2, KickReason::PlatformLimit), (3, KickReason::PlatformLimit)]);
    }

    #[test]
    fn the_oldest_past_the_limit_in_all_goes() {
        let policy = DevicePolicy { sessions_max: 2, class_max: vec![] };
        check(&[(1, "a", PlatformClass::Web), (2, "b", PlatformClass::Web)], &policy, &[(1, KickReason::DeviceLimit)]);
    }
}
