internal import Foundation

/// The command line.
struct Options {
  /// The comparisons on interfaces.
  var goals: [Goal] = []
  /// The targets for pipes between processes and for switches.
  var targets: [Target] = []
  /// The default number of pairs and duration of a run for targets: many pairs, as they are short.
  var targetPairs = 21
  var targetSeconds = 0.3
  /// Packets per sync; nil for the default.
  var batches: [Int]?
  var frameBytes = 60
  var pairs = 7
  var seconds = 1.0
  var isJSON = false
  var netmap = ""
  /// Whether to print the whole report.
  var isReport = false
  /// Whether the report is measured for a short time only.
  var isQuick = false
  /// The program that compares pipes between threads.
  var comparePipes = ""
  /// The program that drives testpmd over memif.
  var memifPeer = ""
  /// The peers on interfaces.
  var peers: [Peer] = []

  static let usage = """
    usage: compare --interfaces | --case CASE ... [--frame-bytes N] [--peer c|testpmd]... [COMMON]
           compare --memif | --targets | --target NAME ... [COMMON]
           compare --report [--quick] [--json] [--netmap PATH]
    COMMON: [--batch N]... [--pairs N] [--seconds S] [--json] [--netmap PATH]

    Runs 'netmap bench' and a peer in turns, 7 pairs of 1 s, and prints the median of the ratios. Exit
    status 1 when one is below its threshold.

    Pipes between threads are compared with C by compare-pipes.

    Interfaces: the cases are \(Goal.all.map(\.name).joined(separator: ", "));
    --interfaces takes them all. Peers are the C program interface-reference and DPDK's testpmd
    (make setup-bench), which send, receive and forward between the same veth pairs: see --program in
    netmap(1). The ratio to the better one counts. A peer that cannot be measured is printed as such.

    Targets: what pipes between processes and switches have to reach, in 21 pairs of 0.3 s: of the figure
    of DPDK's testpmd over its shared-memory interface (--memif takes these), of another case, or in
    packets a second. They are \(Target.all.map(\.name).joined(separator: ", ")).

    --report compares everything with its peers in their fastest configurations, in about 15 minutes, and
    prints Markdown, or with --json one object per row. It has no thresholds. 'netmap bench --compare'
    runs it.

    Peers are looked for beside this program, netmap in .build/release of the package.
    """

  init(_ arguments: some Sequence<String>) throws {
    var rest = Array(arguments)[...]
    let beside = Self.folder()
    netmap = Self.builtNetmap(beside)
    var peerNames: [String] = []
    comparePipes = beside + "/compare-pipes"
    memifPeer = beside + "/testpmd-peer"
    while let name = rest.popFirst() {
      switch name {
      case "--help", "-h":
        print(Self.usage)
        exit(0)
      case "--json": isJSON = true
      case "--report": isReport = true
      case "--quick": isQuick = true
      case "--interfaces": goals = Goal.all
      case "--targets": targets = Target.all
      case "--memif": targets = Target.all.filter(\.isMemif)
      default:
        guard let value = rest.popFirst() else {
          throw UsageError("\(name) lacks its value, or is unknown\n\(Self.usage)")
        }
        switch name {
        case "--case":
          guard let goal = Goal.all.first(where: { $0.name == value }) else {
            throw UsageError("\(name) \(value) is not known\n\(Self.usage)")
          }
          goals.append(goal)
        case "--target":
          guard let target = Target.all.first(where: { $0.name == value }) else {
            throw UsageError("\(name) \(value) is not known\n\(Self.usage)")
          }
          targets.append(target)
        case "--batch":
          batches = (batches ?? []) + [try Self.number(name, value, in: 1...1023)]
        case "--frame-bytes": frameBytes = try Self.number(name, value, in: 60...1514)
        case "--peer" where value == "c" || value == "testpmd": peerNames.append(value)
        case "--pairs":
          pairs = try Self.number(name, value, in: 1...1000)
          targetPairs = pairs
        case "--seconds":
          seconds = try Self.number(name, value, in: 0.01...3600)
          targetSeconds = seconds
        case "--netmap": netmap = value
        default: throw UsageError("\(name) \(value) is not known\n\(Self.usage)")
        }
      }
    }
    guard isReport || !goals.isEmpty || !targets.isEmpty else {
      throw UsageError("nothing to compare\n\(Self.usage)")
    }
    guard FileManager.default.isExecutableFile(atPath: netmap) else {
      throw UsageError("no netmap at \(netmap): build it, or name it with --netmap PATH")
    }
    peers = [
      Peer(name: "c", path: beside + "/interface-reference"),
      Peer(name: "testpmd", path: beside + "/testpmd-peer"),
    ].filter { peerNames.isEmpty || peerNames.contains($0.name) }
  }

  private static func number<Value: LosslessStringConvertible & Comparable>(
    _ name: String, _ text: String, in range: ClosedRange<Value>
  ) throws -> Value {
    guard let value = Value(text), range.contains(value) else {
      throw UsageError("\(name) \(text) is outside \(range.lowerBound)...\(range.upperBound)")
    }
    return value
  }

  /// The built netmap.
  ///
  /// This program is in `Benchmarks/.build/TRIPLE/release`.
  private static func builtNetmap(_ folder: String) -> String {
    let package = URL(fileURLWithPath: folder).appendingPathComponent("../../../..")
    return package.appendingPathComponent(".build/release/netmap").standardized.path
  }

  /// The folder of this program.
  private static func folder() -> String {
    let path = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    return URL(fileURLWithPath: path).deletingLastPathComponent().path
  }
}

struct UsageError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}
