import NetmapCore
import NetmapTestSupport
import Testing

/// netmap's tunables, as C programs see their effects.
@Suite("Tunables, and C programs", .serialized)
struct ClientTunableTests {
  /// A rule, and the tunables that netmapd is started with.
  struct Tuned: Sendable, CustomTestStringConvertible {
    let rule: Rule
    let settings: [String]
    var client = "tunables"
    var needsInterface = false

    var testDescription: String { rule.text }
  }

  static let tuned = [
    Tuned(
      rule: Rule(
        "stamps", "with no_timestamp a ring is stamped only if it asks for it",
        .differs(.tunables, "no_timestamp", how: "a change counts for ports that are opened later")),
      settings: ["no_timestamp=1"]),
    Tuned(
      rule: Rule(
        "discards", "with bridge_batch 0 a switch discards everything, and the slots come back",
        .works(.tunables, "bridge_batch")), settings: ["bridge_batch=0"]),
    Tuned(
      rule: Rule(
        "small-batches", "with bridge_batch 1 a switch forwards packet by packet, in order",
        .works(.tunables, "bridge_batch")), settings: ["bridge_batch=1"]),
    Tuned(
      rule: Rule(
        "few-switches", "one switch more than max_bridges is ENOMEM",
        .differs(.tunables, "max_bridges", how: "the default is 0, no limit")),
      settings: ["max_bridges=2"]),
    Tuned(
      rule: Rule(
        "no-interfaces", "with admode 1 interfaces are EOPNOTSUPP, and everything else works",
        .differs(
          .tunables, "admode",
          how: "no driver has netmap in it, so 1 refuses every interface, and 2 is the same as 0")),
      settings: ["admode=1"], needsInterface: true),
    Tuned(
      rule: Rule(
        "shared-pools", "the memory of interfaces has the objects that the tunables name",
        .works(.tunables, "if_num", "if_size", "ring_num", "ring_size"),
        .differs(
          .tunables, "buf_num",
          how: "16384 by default, and more for a first interface with many rings"),
        .differs(.tunables, "buf_size", how: "powers of two only")),
      settings: [
        "if_num=20", "if_size=2048", "ring_num=50", "ring_size=8192", "buf_num=3000",
        "buf_size=4096",
      ]),
    Tuned(
      rule: Rule(
        "private-pools", "the memory of one port has at least what the tunables name",
        .works(
          .tunables, "priv_if_num", "priv_if_size", "priv_ring_num", "priv_ring_size",
          "priv_buf_num"),
        .differs(.tunables, "priv_buf_size", how: "powers of two only")),
      settings: [
        "priv_if_num=90", "priv_if_size=2048", "priv_ring_num=700", "priv_ring_size=65536",
        "priv_buf_num=9000", "priv_buf_size=4096",
      ]),
    Tuned(
      rule: Rule(
        "ring-size", "an interface's rings have generic_ringsize slots",
        .differs(
          .tunables, "generic_ringsize",
          how:
            "powers of two, 64 to 4096; by default an interface with more than 4 queues has fewer slots"
        )),
      settings: ["generic_ringsize=256"], needsInterface: true),
    Tuned(
      rule: Rule(
        "forwards-all",
        "with fwd all released packets go to the other side, in a port that holds host rings",
        .differs(
          .tunables, "fwd",
          how: "a change counts for ports that are opened later; the port must hold the host rings")
      ),
      settings: ["fwd=1"], client: "interfaces", needsInterface: true),
  ]

  @Test("A tunable does what it does with the kernel module", arguments: tuned)
  func tunable(_ tuned: Tuned) throws {
    try NetworkNamespace.run {
      let pair = tuned.needsInterface ? try VethPair() : nil
      let fixture = try DaemonFixture(starts: false)
      try fixture.start(tuned.settings.flatMap { ["--set", $0] })
      try CClients.expectSuccess(tuned.client, tuned.rule, .preloaded, fixture)
      try fixture.expectSound("after \(tuned.rule.test)")
      withExtendedLifetime(pair) {}
    }
  }

  @Test("Tunables of parts that do not exist here are accepted, and change nothing")
  func withoutEffect() throws {
    let idle = Tunable.allCases.filter { $0.rule.effect == .none }
    let claims = idle.map {
      Claim.differs(.tunables, $0.name, how: "no effect: \($0.rule.meaning)")
    }
    let rule = Rule("as-ever", "it can be set, and programs see no difference", claims)
    let fixture = try DaemonFixture(starts: false)
    try fixture.start(idle.flatMap { ["--set", "\($0.name)=3"] })
    try CClients.expectSuccess("tunables", rule, .preloaded, fixture)
  }
}
