import Glibc
import NetmapTestSupport
import Testing

/// `epoll_ctl`, `epoll_wait`, `epoll_pwait` and `epoll_pwait2` of C programs.
@Suite("epoll in C programs")
struct ClientEpollTests {
  static let rules = [
    Rule(
      "errors",
      "epoll_ctl and epoll_wait fail with the kernel's errno, and survive addresses that are none",
      .works(.calls, "epoll_create", "epoll_create1", "epoll_ctl")),
    Rule(
      "levels",
      "a ready descriptor is reported by every wait, and every wait sends what is pending",
      .works(.waits, "`epoll`, level-triggered"),
      .works(.calls, "epoll_wait")),
    Rule(
      "edges",
      "an edge-triggered descriptor is reported once for each progress of its rings",
      .works(.waits, "`EPOLLET`")),
    Rule(
      "one-shots",
      "a one-shot descriptor is reported once until it is armed again",
      .works(.waits, "`EPOLLONESHOT`")),
    Rule(
      "failures",
      "descriptors that are not bound, and indexes out of place, are errors",
      .works(.waits, "`POLLERR`")),
    Rule(
      "mixed",
      "a set has netmap's descriptors and others, and neither keeps the other from being reported",
      .works(.waits, "other files in the set")),
    Rule("rotation", "waits with little room report all ready descriptors in turn"),
    Rule(
      "timeouts",
      "waits sleep as long as they say",
      .works(.waits, "time limits"),
      .works(.calls, "epoll_pwait2")),
    Rule(
      "interrupted",
      "a signal ends a wait also if its handler restarts calls",
      .works(.waits, "signals")),
    Rule(
      "masked",
      "the signal mask of a wait holds from its sleep's beginning to its end",
      .works(.waits, "signal masks"),
      .works(.calls, "epoll_pwait")),
    Rule(
      "canceled",
      "a thread can be canceled while it waits",
      .works(.waits, "cancellation")),
    Rule(
      "threads",
      "several threads wait on one set",
      .works(.waits, "several waiters")),
    Rule(
      "changes",
      "a wait sees what another thread adds, changes, removes and closes",
      .works(.waits, "`epoll` sets that change during a wait")),
    Rule(
      "starts",
      "threads that wait on a set see the first netmap descriptor that another thread adds",
      .works(.waits, "`epoll` sets that change during a wait")),
    Rule(
      "late",
      "a thread that is about to wait sees the first netmap descriptor that another thread adds meanwhile",
      .works(.waits, "`epoll` sets that change during a wait")),
    Rule(
      "closes",
      "the last close of an open file takes it out of the set, and no other close does",
      .works(.descriptors, "`close`")),
    Rule(
      "copies",
      "copies of an epoll descriptor are one set, which ends with the last of them",
      .works(.descriptors, "`dup`")),
    Rule(
      "forked",
      "a fork child has a copy of the set, also of one whose descriptors it closes",
      .works(.descriptors, "`fork`")),
    Rule(
      "exec",
      "after exec a set has the descriptors that are not netmap's, and gets the others again",
      .differs(
        .waits, "`epoll` sets after `exec`",
        how: "the program has to add netmap's descriptors again")),
    Rule(
      "nested",
      "a set in another set is ready when a netmap descriptor in it is",
      .works(.waits, "`epoll` sets in sets")),
    Rule(
      "polled",
      "poll and select wait for a set with netmap's descriptors",
      .works(.waits, "`epoll` sets in sets")),
    Rule("costs", "a wait on 1000 descriptors costs in proportion to those that are ready"),
  ]

  @Test(
    "A C program's sets do what they do with the kernel module", arguments: rules,
    CClients.Loading.allCases)
  func rule(_ rule: Rule, _ loading: CClients.Loading) throws {
    try CClients.expectSuccess("epoll", rule, loading)
  }

  @Test(
    "No wake-up is lost in 20000 exchanges of two processes",
    arguments: [
      Rule("pipe", "at the ends of a pipe"), Rule("switch", "on a switch"),
    ])
  func exchanges(_ rule: Rule) throws {
    try CClients.expectSuccess("epoll", rule)
  }

  @Test(
    "A set waits for an interface, level-triggered and edge-triggered, and sees it end",
    .enabled(if: getuid() == 0))
  func interface() throws {
    let fixture = try DaemonFixture()
    let outcome = try TestProgram(
      ["unshare", "--net", "\(CClients.folder.get())/epoll", "interface"],
      environment: CClients.environment(.preloaded, fixture)
    ).end()
    #expect(outcome.status == 0, "\(outcome.output)")
  }
}
