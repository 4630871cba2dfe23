internal import Foundation

/// The command line.
struct Options {
  var name = "pipe-2t"
  var batches: [Int] = []
  var payloads: [String] = []
  var pairs = 7
  var seconds = 1.0
  var threshold = 0.9
  var isJSON = false
  var netmap = ""
  /// The C program; nil when there is none.
  var peer: String?

  static let usage = """
    usage: compare [--case pipe-1t|pipe-2t] [--batch N]... [--payload untouched|touched]...
                   [--pairs N] [--seconds S] [--threshold R] [--json]
                   [--netmap PATH] [--reference PATH]

    Runs 'netmap bench' and the C program pipe-reference in turns, 7 pairs of 1 s for each batch
    (1, 32, 256) and payload, and prints the median of the ratios. Exit status 1 when one is below
    the threshold, 0.9. Both programs are looked for beside this one.
    """

  init(_ arguments: some Sequence<String>) throws {
    var rest = Array(arguments)[...]
    let beside = Self.folder()
    netmap = beside + "/netmap"
    var reference = beside + "/pipe-reference"
    while let name = rest.popFirst() {
      switch name {
      case "--help", "-h":
        print(Self.usage)
        exit(0)
      case "--json": isJSON = true
      default:
        guard let value = rest.popFirst() else {
          throw UsageError("\(name) lacks its value, or is unknown\n\(Self.usage)")
        }
        switch name {
        case "--case" where value == "pipe-1t" || value == "pipe-2t": self.name = value
        case "--batch": batches.append(try Self.number(name, value, in: 1...1023))
        case "--payload" where value == "untouched" || value == "touched": payloads.append(value)
        case "--pairs": pairs = try Self.number(name, value, in: 1...1000)
        case "--seconds": seconds = try Self.number(name, value, in: 0.01...3600)
        case "--threshold": threshold = try Self.number(name, value, in: 0...100)
        case "--netmap": netmap = value
        case "--reference": reference = value
        default: throw UsageError("\(name) \(value) is not known\n\(Self.usage)")
        }
      }
    }
    if batches.isEmpty { batches = [1, 32, 256] }
    if payloads.isEmpty { payloads = ["untouched", "touched"] }
    guard FileManager.default.isExecutableFile(atPath: netmap) else {
      throw UsageError("no netmap at \(netmap): build it, or name it with --netmap PATH")
    }
    peer = FileManager.default.isExecutableFile(atPath: reference) ? reference : nil
  }

  private static func number<Value: LosslessStringConvertible & Comparable>(
    _ name: String, _ text: String, in range: ClosedRange<Value>
  ) throws -> Value {
    guard let value = Value(text), range.contains(value) else {
      throw UsageError("\(name) \(text) is outside \(range.lowerBound)...\(range.upperBound)")
    }
    return value
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
