/// The command line.
struct PairOptions {
  var batches: [Int] = []
  var payloads: [Bool] = []
  var pairs = 201
  var seconds = 0.005
  var threshold = 0.9
  var cpus = (0, 1)
  var isJSON = false

  static let usage = """
    usage: compare-pipes [--batch N]... [--payload untouched|touched]... [--pairs N] [--seconds S]
                         [--threshold R] [--cpus A,B] [--json]

    A pipe between two threads against the same loop in C, in turns within one process: 201 pairs of
    turns of 5 ms for each batch (1, 32, 256) and payload, the pipes made anew every 10 pairs. Prints the median of the pairs' ratios. Exit
    status 1 when one is below the threshold, 0.9.
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
  }
}

struct UsageError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}
