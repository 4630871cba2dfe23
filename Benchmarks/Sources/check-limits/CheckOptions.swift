/// The command line.
struct Options {
  var isSmoke = false
  var netmap = ""
  var limits = ""
  var pairs = 7
  var seconds = 1.0

  init(_ arguments: some Sequence<String>) throws {
    var rest = Array(arguments)[...]
    while let name = rest.popFirst() {
      if name == "--smoke" {
        isSmoke = true
        continue
      }
      guard let value = rest.popFirst() else { throw UsageError("\(name)?") }
      switch name {
      case "--netmap": netmap = value
      case "--limits": limits = value
      case "--pairs":
        guard let number = Int(value), number > 0 else { throw UsageError("--pairs \(value)?") }
        pairs = number
      case "--seconds":
        guard let number = Double(value), number > 0 else {
          throw UsageError("--seconds \(value)?")
        }
        seconds = number
      default: throw UsageError("\(name)?")
      }
    }
    guard !netmap.isEmpty, !limits.isEmpty else {
      throw UsageError("--netmap and --limits are needed")
    }
  }
}

struct UsageError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}
