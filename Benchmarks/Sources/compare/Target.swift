/// A target for a pipe between processes or for a switch.
///
/// The target is a minimum ratio to a peer's or another case's rate, or a rate in millions of packets per
/// second.
struct Target {
  enum Reference {
    /// testpmd over memif, with these arguments of `testpmd-peer memif`.
    case memif([String])
    /// Another case of `netmap bench`.
    case run([String])
    /// None: the rate itself counts.
    case absolute
  }

  enum Statistic: String {
    case median
    /// The best run, which shows the machine's speed without other load.
    case best
  }

  let name: String
  /// A description of the target for the report.
  let what: String
  /// The work of netmap's two sides, printed next to the work of a different peer.
  var sides = ""
  let arguments: [String]
  let reference: Reference
  var statistic = Statistic.median
  let limit: Double

  /// These targets are about the switch, not about the ends that write and read the frames.
  private static func untouched(_ arguments: [String], frameBytes: Int = 60) -> [String] {
    arguments + ["--frame-bytes", String(frameBytes), "--payload", "untouched"]
  }

  var isMemif: Bool { if case .memif = reference { true } else { false } }

  static let all = [
    Target(
      name: "pipe-memif",
      what: "a pipe between two processes, payload written and read, against memif",
      sides: "the sender writes all 60 bytes of each frame, the receiver sums them up; batch 256",
      arguments: ["--case", "pipe-2p", "--batch", "256", "--payload", "touched"],
      reference: .memif(["pipe", "--burst", "256"]), limit: 3),
    Target(
      name: "vale-memif",
      what: "a switch between two processes, 60 bytes, against memif forwarding",
      sides: "frames are copied once, and counted where they arrive; batch 256",
      arguments: Self.untouched(["--case", "vale-2p", "--batch", "256"]),
      reference: .memif(["forward"]), limit: 2),
    Target(
      name: "pipe-processes", what: "a pipe between two processes against one between two threads",
      arguments: ["--case", "pipe-2p", "--batch", "256", "--payload", "touched"],
      reference: .run(["--case", "pipe-2t", "--batch", "256", "--payload", "touched"]), limit: 0.95),
    Target(
      name: "vale-best", what: "a switch between two processes, 60 bytes, Mpps",
      arguments: Self.untouched(["--case", "vale-2p", "--batch", "256"]),
      reference: .absolute, statistic: .best, limit: 40),
    Target(
      name: "vale-single", what: "the same, one packet a sync, Mpps",
      arguments: Self.untouched(["--case", "vale-2p", "--batch", "1"]), reference: .absolute,
      statistic: .best, limit: 5),
    // At most 15 % more time per packet.
    Target(
      name: "vale-252", what: "252 ports on the switch against 2",
      arguments: Self.untouched(["--case", "vale-2t-252", "--batch", "256"]),
      reference: .run(Self.untouched(["--case", "vale-2t", "--batch", "256"])),
      limit: 1 / 1.15),
    Target(
      name: "vale-copy", what: "a switch, 1514 bytes, against memcpy",
      arguments: Self.untouched(["--case", "vale-2t", "--batch", "256"], frameBytes: 1514),
      reference: .run(["--case", "memcpy", "--frame-bytes", "1514"]), limit: 0.5),
    Target(
      name: "vale-unread", what: "one thread sends to a port without a reader, Mpps",
      arguments: ["--case", "vale-unread", "--batch", "256", "--frame-bytes", "60"],
      reference: .absolute, limit: 30),
  ]
}
