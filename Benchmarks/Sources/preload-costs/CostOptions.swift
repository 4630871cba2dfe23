/// The command line.
struct CostOptions {
  /// Limit of a script's wall-clock time with the library, in terms of its time without a preload.
  static let scriptLimit = 1.05
  /// The same in terms of its time with an empty object preloaded.
  static let emptyLimit = 1.02

  /// The C half of the C library.
  var library = ""
  /// The folder with the scripts of the conformance suite.
  var scripts = ""
  /// The C compiler that builds the empty object.
  var compiler = "clang"
  /// How often each script runs without a preload, with the library, and with the empty object.
  var turns = 18
  var starts = 500
  var rounds = 301
  /// Multiplies the limits.
  var slack = 1.0
  /// Whether this process has the library preloaded, and measures calls.
  var measuresCalls = false

  static let usage = """
    usage: preload-costs --library FILE [--scripts FOLDER] [--compiler NAME] [--turns N] [--starts N]
                         [--rounds N] [--slack F]

    Measures what the C library costs programs that never use netmap: interposed calls in nanoseconds, starts of 'true'
    in milliseconds, and the scripts of FOLDER as ratios of wall-clock time. Starts and scripts run in turns without a
    preload, with the library, and with an empty object that NAME (a C compiler) builds. The empty object shows what the
    dynamic loader takes for any preloaded object, whatever is in it.

    Prints each figure with its limit. Exit status 1 when a limit is exceeded: by the medians of calls and starts, and by
    three quarters of the turns of a script. A script keeps the limit if it takes at most \(CostOptions.scriptLimit) of its
    time without a preload, or at most \(CostOptions.emptyLimit) of its time with the empty object: then the loader takes
    the time, and no library could take less. --slack multiplies the limits of calls and starts, for machines that are busy.
    """

  init(_ arguments: some Sequence<String>) throws(UsageError) {
    var rest = Array(arguments)[...]
    while let name = rest.popFirst() {
      if name == "--calls" {
        measuresCalls = true
        continue
      }
      guard let value = rest.popFirst() else { throw UsageError("\(name)?") }
      func number() throws(UsageError) -> Int {
        guard let number = Int(value), (1...100_000).contains(number) else {
          throw UsageError("\(name) \(value)?")
        }
        return number
      }
      switch name {
      case "--library": library = value
      case "--scripts": scripts = value
      case "--compiler": compiler = value
      case "--turns": turns = try number()
      case "--starts": starts = try number()
      case "--rounds": rounds = try number()
      case "--slack":
        guard let factor = Double(value), factor >= 1 else {
          throw UsageError("\(name) \(value)?")
        }
        slack = factor
      default: throw UsageError("\(name)?")
      }
    }
    guard measuresCalls || !library.isEmpty else { throw UsageError("--library is needed") }
  }
}

struct UsageError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}
