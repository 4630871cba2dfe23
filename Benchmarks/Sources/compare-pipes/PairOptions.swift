/// The command line.
struct PairOptions {
  var batches: [Int] = []
  var frameSizes: [Int] = []
  var payloads: [Bool] = []
  var pairs = 201
  var seconds = 0.005
  var threshold: Double?
  var cpus = (0, 1)
  var isJSON = false

  static let usage = """
    usage: compare-pipes [--batch N]... [--frame-bytes N]... [--payload untouched|touched]...
                         [--pairs N] [--seconds S] [--threshold R] [--cpus A,B] [--json]

    Compares a pipe between two threads with two loops in C, in turns within one process: with the same
    protocol on the same rings, and with a plain ring, which has one buffer for each slot. 201 rounds of turns of
    5 ms for each batch (1, 32, 256) and payload, on pipes made anew every 10 rounds; frames have 60 bytes.
    Prints the medians of the rates and of the ratios of the rounds, and the round trip of a cache line
    between the CPUs. With --threshold, exit status 1 when a ratio to the same protocol in C is below it.

    touched: the sender writes every byte, and the receiver reads every byte. untouched: neither does.
    """

  init(_ arguments: some Sequence<String>) throws {
    var rest = Array(arguments)[...]
    while let name = rest.popFirst() {
      if name == "--json" {
        isJSON = true
        continue
      }
      guard let value = rest.popFirst() else { throw UsageError("\(name)?") }
      let problem = UsageError("\(name) \(value)?")
      switch name {
      case "--batch":
        guard let number = Int(value), (1...1023).contains(number) else { throw problem }
        batches.append(number)
      case "--frame-bytes":
        guard let number = Int(value), (testFrameBytes...1514).contains(number) else {
          throw problem
        }
        frameSizes.append(number)
      case "--payload":
        guard value == "touched" || value == "untouched" else { throw problem }
        payloads.append(value == "touched")
      case "--pairs":
        guard let number = Int(value), number > 0 else { throw problem }
        pairs = number
      case "--seconds":
        guard let number = Double(value), number > 0 else { throw problem }
        seconds = number
      case "--threshold":
        guard let number = Double(value), number > 0 else { throw problem }
        threshold = number
      case "--cpus":
        let numbers = value.split(separator: ",").compactMap { Int($0) }
        guard numbers.count == 2 else { throw problem }
        cpus = (numbers[0], numbers[1])
      default: throw UsageError("\(name)?")
      }
    }
    if batches.isEmpty { batches = [1, 32, 256] }
    if payloads.isEmpty { payloads = [false, true] }
    if frameSizes.isEmpty { frameSizes = [testFrameBytes] }
  }
}

struct UsageError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}
