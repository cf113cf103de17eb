//! Every part dies, hangs or is cut off in turn while sends are acknowledged: nothing is lost, doubled or moved, and
//! sends go on. That each fault landed is told by the processes that it hurts (`signs`).
//!
//! Prints a table: how many sends were answered while each fault lasted, how soon after its end they were again, and how
//! soon gateways and daemons named the part that was away in `/readyz`, and were green afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ringway_e2e::http;
use ringway_e2e::load::Load;
use ringway_e2e::metrics::Metrics;
use ringway_e2e::peer::{Login, Peer};
use ringway_e2e::program;
use ringway_e2e::proxy::Proxy;
use ringway_stack::{Extra, Folder, Stack};

use crate::deployment::{Deployment, Servers, blocking};
use crate::signs::{Sign, Watched, reasons};
use crate::{located, readiness};

/// Answers that show that sends go on.
pub(crate) const ENOUGH: u64 = 200;
/// The end of a long fault, in which they still have to.
const LAST: Duration = Duration::from_secs(8);

/// What is done to the deployment, and undone.
struct Fault {
    name: &'static str,
    lasts_s: u64,
    /// Whether sends go on while it lasts.
    sends_go_on: bool,
    /// What shows that it landed.
    sign: Sign,
    /// What gateways and daemons name in `/readyz` while it lasts; empty when it is nothing that they stand on.
    named: &'static str,
    begin: fn(&mut Stack),
    end: fn(&mut Stack),
}

/// What the spools of all gateways take while the broker is away: some of them may have nobody.
const SPOOLED: (&[&str], &str, u64) = (&["gateway-1", "gateway-2", "gateway-3"], "ringway_spool_spooled_total", ENOUGH);

/// Redis after the database: for ten minutes after an epoch began, a first send is looked up there.
const FAULTS: [Fault; 8] = [
    Fault {
        name: "a gateway is killed",
        lasts_s: 3,
        sends_go_on: true,
        sign: Sign::Gone("gateway-2"),
        named: "",
        begin: |stack| stack.kill("gateway-2").unwrap(),
        end: |stack| stack.start("gateway-2").unwrap(),
    },
    Fault {
        name: "a persist daemon is killed",
        lasts_s: 5,
        sends_go_on: true,
        sign: Sign::Gone("persist-1"),
        named: "",
        begin: |stack| stack.kill("persist-1").unwrap(),
        end: |stack| stack.start("persist-1").unwrap(),
    },
    Fault {
        name: "the API is killed",
        lasts_s: 2,
        sends_go_on: true,
        sign: Sign::Gone("api"),
        named: "",
        begin: |stack| stack.kill("api").unwrap(),
        end: |stack| stack.start("api").unwrap(),
    },
    Fault {
        name: "the database is killed",
        // Past the minute for which permissions are believed.
        lasts_s: 75,
        sends_go_on: true,
        sign: Sign::Red("persist-1", "mysql"),
        named: "mysql: ",
        begin: |stack| stack.kill("mysql").unwrap(),
        end: |stack| stack.start("mysql").unwrap(),
    },
    Fault {
        name: "the database hangs",
        lasts_s: 6,
        sends_go_on: true,
        sign: Sign::Red("persist-1", "mysql"),
        named: "mysql: ",
        begin: |stack| stack.pause("mysql").unwrap(),
        end: |stack| stack.resume("mysql").unwrap(),
    },
    Fault {
        name: "Redis is killed and comes back empty",
        // Past the time for which a gateway tries to number what is in the log.
        lasts_s: 8,
        sends_go_on: false,
        sign: Sign::Epoch,
        named: "redis: ",
        begin: |stack| stack.kill("redis").unwrap(),
        end: |stack| stack.start_empty("redis").unwrap(),
    },
    Fault {
        name: "the broker is killed",
        lasts_s: 10,
        sends_go_on: true,
        sign: Sign::Grows(SPOOLED),
        named: "rocketmq: ",
        begin: |stack| stack.kill("broker").unwrap(),
        end: |stack| stack.start("broker").unwrap(),
    },
    Fault {
        name: "the broker hangs",
        lasts_s: 60,
        sends_go_on: true,
        sign: Sign::Grows(SPOOLED),
        named: "rocketmq: ",
        begin: |stack| stack.pause("broker").unwrap(),
        end: |stack| stack.resume("broker").unwrap(),
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_part_may_die_under_load() {
    let mut deployment = Deployment::start(&[]).await;
    let mut load = Load::start(deployment.site().await).await.unwrap();
    let admins = deployment.admins.clone();
    // The first of each, which no fault before the database's is about.
    let (gateway, daemon) = (admins[0], deployment.daemons()[0]);
    for Fault { name, lasts_s, sends_go_on, sign, named, begin, end } in FAULTS {
        deployment.answered(&mut load, ENOUGH, "the fault before").await;
        deployment.archived(&mut load).await;
        let mut sign = Watched::before(&deployment, sign).await;
        let before = load.acknowledged();
        let began = Instant::now();
        deployment = deployment.change(begin).await;
        let mut red = None;
        sign.look(&deployment).await;
        if !named.is_empty() {
            red = Some(readiness::until_named(&mut load, &[gateway, daemon], named).await - began);
            if sends_go_on {
                readiness::until_through(&mut load, &[gateway]).await;
            } else {
                let at = readiness::until_named(&mut load, &[gateway], readiness::CANARY).await;
                println!("{name:40} the canary tells it after {:.2} s", (at - began).as_secs_f64());
            }
            sign.look(&deployment).await;
        }
        let until = began + Duration::from_secs(lasts_s);
        let mut before_end = before;
        while Instant::now() < until {
            load.look().await.unwrap();
            if Instant::now() + LAST < until {
                before_end = load.acknowledged();
            }
            sign.look(&deployment).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if !named.is_empty() {
            // What all of them lack is no better elsewhere.
            let all = deployment.gateways.iter().copied().map(located::url).collect();
            assert_eq!(located::told(deployment.api).await, all, "{name}: where clients are sent");
        }
        let (during, lasted) = (load.acknowledged() - before, began.elapsed().as_secs());
        let at_last = load.acknowledged() - before_end;
        deployment = deployment.change(end).await;
        let ended = Instant::now();
        let again = deployment.answered(&mut load, ENOUGH, name).await;
        let green = readiness::until_ready(&mut load, &admins).await - ended;
        tell(name, lasted, during, again);
        tell_readiness(name, red, green);
        assert!(!sends_go_on || at_last > ENOUGH, "{name}: only {at_last} of {during} sends were answered in the end");
        sign.until_seen(&deployment, name).await;
    }
    println!("{} messages judged", deployment.judge(load).await);
}

/// Redis loses all while nobody archives: what waits has to be numbered anew, in order, before sends go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_may_be_lost_while_nothing_is_archived() {
    let mut deployment = Deployment::start(&[]).await;
    let mut load = Load::start(deployment.site().await).await.unwrap();
    deployment.answered(&mut load, ENOUGH, "the start").await;
    let daemons = ["persist-1", "persist-2"];
    deployment = deployment.change(move |stack| daemons.iter().for_each(|name| stack.pause(name).unwrap())).await;
    let before = load.acknowledged();
    last(&mut load, 15).await;
    let waiting = load.acknowledged() - before;
    tell("all persist daemons hang", 15, waiting, Duration::ZERO);
    assert!(waiting > ENOUGH, "only {waiting} sends were answered");
    let sign = Watched::before(&deployment, Sign::Epoch).await;
    deployment = deployment
        .change(move |stack| {
            stack.kill("redis").unwrap();
            stack.start_empty("redis").unwrap();
            for name in daemons {
                stack.resume(name).unwrap();
            }
        })
        .await;
    let again = deployment.answered(&mut load, ENOUGH, "Redis is back").await;
    tell("Redis comes back empty meanwhile", 2, 0, again);
    sign.until_seen(&deployment, "Redis comes back empty").await;
    println!("{} messages judged", deployment.judge(load).await);
}

/// One gateway loses its way to a server while the others keep theirs: its people go to them. Then the database answers
/// everybody late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_may_be_cut_off_from_its_servers() {
    let servers = blocking(|| Servers::start(&[])).await;
    let known = servers.stack.backends();
    let address = |text: &str| text.rsplit('/').next().unwrap().parse().unwrap();
    let redis = Proxy::to(address(&known.redis)).await.unwrap();
    let broker = Proxy::to(address(&known.broker)).await.unwrap();
    let namesrv = Proxy::to_name_server(address(&known.namesrv), address(&known.broker), &broker).await.unwrap();
    let at = known.mysql.split(['@', '/']).find(|part| part.starts_with("127.0.0.1:")).unwrap().to_owned();
    let database = Proxy::to(at.parse().unwrap()).await.unwrap();
    let ways = (format!("redis://{}", redis.address()), namesrv.address().to_string());
    let mysql = known.mysql.replace(&at, &database.address().to_string());
    let mut deployment = blocking(move || {
        servers.with(&|name, mut servers| {
            servers.mysql.clone_from(&mysql);
            if name == "gateway-1" {
                (servers.redis, servers.namesrv) = ways.clone();
            }
            servers
        })
    })
    .await;
    let mut load = Load::start(deployment.site().await).await.unwrap();
    let late = Duration::from_millis(100);
    type Change<'a> = &'a dyn Fn();
    type Check = fn(&[Reading; 3]);
    // The broker first: who is cut off from Redis goes to another gateway, and does not come back.
    let faults: [(&str, &str, Change<'_>, Change<'_>, Check); 3] = [
        ("a gateway is cut off from the broker", "rocketmq: ", &|| broker.cut(), &|| broker.mend(), check_spooled),
        ("a gateway is cut off from Redis", "redis: ", &|| redis.cut(), &|| redis.mend(), check_not_numbered),
        ("the database answers 0.1 s late", "", &|| database.slow(late), &|| database.slow(Duration::ZERO), check_late),
    ];
    let (gateways, admins, api) = (deployment.gateways.clone(), deployment.admins.clone(), deployment.api);
    for (name, named, begin, end, check) in faults {
        deployment.answered(&mut load, ENOUGH, "the fault before").await;
        let found = located::until_told(&mut load, api, &gateways).await;
        println!("{name:40} all gateways are told again after {:.2} s", found.as_secs_f64());
        let at_first = Reading::take(&deployment).await;
        let before = load.acknowledged();
        let began = Instant::now();
        begin();
        let mut red = None;
        if !named.is_empty() {
            red = Some(readiness::until_named(&mut load, &admins[..1], named).await - began);
        }
        last_until(&mut load, began + Duration::from_secs(5)).await;
        let at_work = Reading::take(&deployment).await;
        if !named.is_empty() {
            located::until_told(&mut load, api, &gateways[1..]).await;
            println!("{name:40} clients are sent to the others after {:.2} s", began.elapsed().as_secs_f64());
        }
        last_until(&mut load, began + Duration::from_secs(15)).await;
        let at_last = Reading::take(&deployment).await;
        let (during, lasted) = (load.acknowledged() - before, began.elapsed().as_secs());
        end();
        let ended = Instant::now();
        let again = deployment.answered(&mut load, ENOUGH, name).await;
        let green = readiness::until_ready(&mut load, &admins).await - ended;
        tell(name, lasted, during, again);
        tell_readiness(name, red, green);
        assert!(during > ENOUGH, "{name}: only {during} sends were answered");
        check(&[at_first, at_work, at_last]);
    }
    println!("{} messages judged", deployment.judge(load).await);
}

/// What the processes say.
struct Reading {
    /// Of the gateway that is cut off, then of the others.
    gateways: Vec<Told>,
    daemons: Vec<Metrics>,
}

/// What one gateway says.
struct Told {
    metrics: Metrics,
    /// What its readiness names.
    reasons: String,
}

impl Reading {
    async fn take(deployment: &Deployment) -> Self {
        let (mut gateways, mut daemons) = (Vec::new(), Vec::new());
        for name in ["gateway-1", "gateway-2", "gateway-3"] {
            let reasons = reasons(deployment, name).await;
            gateways.push(Told { metrics: Metrics::read(deployment.admin(name)).await.unwrap(), reasons });
        }
        for daemon in deployment.daemons() {
            daemons.push(Metrics::read(*daemon).await.unwrap());
        }
        Self { gateways, daemons }
    }

    /// A metric of the gateway that is cut off.
    fn hurt(&self, metric: &str) -> u64 {
        self.gateways[0].metrics.sum(metric)
    }

    /// The same of all others together.
    fn others(&self, metric: &str) -> u64 {
        self.gateways[1..].iter().map(|told| told.metrics.sum(metric)).sum()
    }
}

/// The gateway that is cut off from the broker takes its people's sends into its spool. (On a busy machine another one
/// may do so for a moment too.)
fn check_spooled([before, work, last]: &[Reading; 3]) {
    const SPOOLED: &str = "ringway_spool_spooled_total";
    let spooled = last.hurt(SPOOLED) - before.hurt(SPOOLED);
    assert!(spooled > ENOUGH, "only {spooled} records are in the spool of the gateway that is cut off");
    for reading in [work, last] {
        assert_eq!(reading.gateways[0].metrics.of("ringway_event_log_available", &[]), Some(0));
    }
}

/// The gateway that is cut off from Redis numbers nothing, refuses what it is sent and says so; the others go on.
fn check_not_numbered([before, work, last]: &[Reading; 3]) {
    const NUMBERED: &str = "ringway_state_numbered_messages_total";
    const REFUSED: &str = "ringway_uplink_failed_total";
    assert_eq!(last.hurt(NUMBERED), work.hurt(NUMBERED), "it cannot number");
    assert!(last.others(NUMBERED) > work.others(NUMBERED) + ENOUGH, "the others go on");
    assert!(last.hurt(REFUSED) > before.hurt(REFUSED), "nobody sent anything to it");
    for reading in [work, last] {
        let named = reading.gateways.iter().map(|told| told.reasons.contains("redis: "));
        assert_eq!(named.collect::<Vec<_>>(), [true, false, false], "who says that Redis is away");
    }
}

/// Each transaction of the archive takes several answers, and each of those came late.
fn check_late([before, work, last]: &[Reading; 3]) {
    let of = |reading: &Reading| {
        ["commit_seconds_total", "commits_total"].map(|name| {
            let metric = format!("ringway_persist_archive_{name}");
            reading.daemons.iter().map(|metrics| metrics.total(&metric)).sum::<f64>()
        })
    };
    let (began, ended) = (of(work), of(last));
    let commits = ended[1] - began[1];
    assert!(commits > 0.0, "nothing is archived at all");
    let commit_s = (ended[0] - began[0]) / commits;
    assert!(commit_s > 0.2, "a transaction took {commit_s} s");
    assert!(of(before)[0] < began[0]);
}

/// Redis fails over to a replica that does not know the latest numbers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_replica_is_promoted_under_load() {
    let mut deployment = Deployment::start(&[Extra::Sentinel]).await;
    let mut load = Load::start(deployment.site().await).await.unwrap();
    deployment.answered(&mut load, 500, "the start").await;
    deployment = deployment.change(|stack| stack.hold_replica_back().unwrap()).await;
    // Numbers that the replica does not know.
    deployment.answered(&mut load, 1_000, "the replica is held back").await;
    let sign = Watched::before(&deployment, Sign::Epoch).await;
    let (before, began) = (load.acknowledged(), Instant::now());
    deployment = deployment
        .change(|stack| {
            stack.kill("redis").unwrap();
            stack.promote_replica().unwrap();
        })
        .await;
    let (during, lasted) = (load.acknowledged() - before, began.elapsed());
    let again = deployment.answered(&mut load, ENOUGH, "the promotion").await;
    tell("a stale replica of Redis is promoted", lasted.as_secs(), during, again);
    sign.until_seen(&deployment, "a stale replica is promoted").await;
    println!("{} messages judged", deployment.judge(load).await);
}

/// Each process is told to end, ends, and the next version of it is started, one after the other: both serve side by side
/// meanwhile. The version before is this one too, unless the environment names another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_processes_may_be_replaced_under_load() {
    let folder = Folder::new().unwrap();
    let programs = folder.path().to_owned();
    install(&program::production_before().unwrap(), &programs);
    let started = programs.clone();
    let mut deployment = blocking(move || Servers::start(&[]).running(&started, &|_, servers| servers)).await;
    let mut load = Load::start(deployment.site().await).await.unwrap();
    deployment.answered(&mut load, ENOUGH, "the start").await;
    install(&program::production().unwrap(), &programs);
    let gateways = deployment.gateways.clone();
    // One who is no part of the load hears how each gateway takes its leave.
    let token = http::register(deployment.api, "gus").await.unwrap().access;
    for (at, name) in ["gateway-1", "gateway-2", "gateway-3", "persist-1", "persist-2", "api"].into_iter().enumerate() {
        deployment.answered(&mut load, ENOUGH, "the one before").await;
        let mut idle = None;
        if let Some(gateway) = gateways.get(at) {
            // The gateways know what the API knows: each looks once a second.
            located::until_told(&mut load, deployment.api, &gateways).await;
            last(&mut load, 2).await;
            idle = Some(Peer::connect(*gateway, &Login::new(&token, "phone")).await.unwrap().0);
        }
        let before = load.acknowledged();
        let began = Instant::now();
        deployment = deployment
            .change(move |stack| {
                stack.terminate(name).unwrap();
                stack.start(name).unwrap();
            })
            .await;
        if let Some(idle) = &mut idle {
            let reconnect = idle.wait(|packet| packet.reconnect.clone()).await.unwrap();
            check_sent_to_others(&reconnect.to, &gateways, at);
        }
        let (during, lasted) = (load.acknowledged() - before, began.elapsed());
        let again = deployment.answered(&mut load, ENOUGH, name).await;
        tell(&format!("{name} is replaced"), lasted.as_secs(), during, again);
        // Some are back before anybody notices.
        assert!(during > ENOUGH || lasted < Duration::from_secs(2), "{name}: only {during} sends were answered");
    }
    let refused = load.orders.refused.load(Ordering::Relaxed);
    assert_eq!(refused, 0, "a client is told to reconnect, and never that something is wrong");
    println!("{} messages judged", deployment.judge(load).await);
}

/// A gateway that drains sends its clients to each of the others, and not to itself.
fn check_sent_to_others(to: &[String], gateways: &[SocketAddr], own: usize) {
    let found: BTreeSet<&String> = to.iter().collect();
    let others: Vec<String> =
        gateways.iter().filter(|gateway| **gateway != gateways[own]).copied().map(located::url).collect();
    assert_eq!(
        (found, to.len()),
        (others.iter().collect(), others.len()),
        "where gateway-{} sends its clients",
        own + 1
    );
}

/// Puts the programs of a version in place, as a package does: what runs keeps what it was started from.
fn install(version: &Path, place: &Path) {
    for name in program::PRODUCTION {
        let (new, file) = (place.join("new"), place.join(name));
        symlink(version.join(name), &new).unwrap();
        fs::rename(new, file).unwrap();
    }
}

/// Lets time pass; a walker that gives up ends the test.
pub(crate) async fn last(load: &mut Load, seconds: u64) {
    last_until(load, Instant::now() + Duration::from_secs(seconds)).await;
}

async fn last_until(load: &mut Load, end: Instant) {
    while Instant::now() < end {
        load.look().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn tell(name: &str, lasted_s: u64, during: u64, again: Duration) {
    println!("{name:40} {lasted_s:3} s  {during:7} answered  again after {:6.2} s", again.as_secs_f64());
}

/// The promise is 10 s for the first of them.
fn tell_readiness(name: &str, red: Option<Duration>, green: Duration) {
    let named =
        red.map_or("nothing of it is named".to_owned(), |red| format!("named after {:.2} s", red.as_secs_f64()));
    println!("{name:40} {named}, all green {:.2} s after it", green.as_secs_f64());
}
