internal import CallCosts
internal import Foundation

/// Measures what the preloaded C library costs programs that never use netmap.
@main
struct PreloadCosts {
  /// Nanoseconds that a call on a descriptor may cost more, unless `callLimits` has its name.
  static let callLimit = 10.0
  static let callLimits = ["poll of 64": 32.0, "poll, new pages": 150.0]
  /// Milliseconds that a start of `true` may cost more.
  static let startLimit = 0.1

  /// The scripts, with the program that runs each and a program that it needs.
  static let scripts = [
    ("bash.sh", "bash", "bash"), ("git.sh", "sh", "git"), ("make.sh", "sh", "make"),
    ("python.py", "python3", "python3"), ("ssh.sh", "sh", "ssh-keygen"),
  ]

  static func main() {
    do throws(UsageError) {
      let options = try CostOptions(CommandLine.arguments.dropFirst())
      if options.measuresCalls {
        exit(try measureCalls(options) ? 0 : 1)
      }
      guard unsafe access(options.library, R_OK) == 0 else {
        throw UsageError("\(options.library) cannot be read")
      }
      exit(try measure(options) ? 0 : 1)
    } catch {
      FileHandle.standardError.write(Data("preload-costs: \(error)\n\(CostOptions.usage)\n".utf8))
      exit(64)
    }
  }

  static func measure(_ options: CostOptions) throws(UsageError) -> Bool {
    let empty = try EmptyObject(compiler: options.compiler)
    var keepsLimits =
      try Child(
        arguments: [
          "/proc/self/exe", "--calls", "--rounds", "\(options.rounds)", "--slack",
          "\(options.slack)",
        ]
      ).run(preloading: options.library, showsOutput: true).status == 0
    keepsLimits = try measureStarts(options, empty: empty.path) && keepsLimits
    if !options.scripts.isEmpty {
      keepsLimits = try measureScripts(options, empty: empty.path) && keepsLimits
    }
    print(keepsLimits ? "\nall limits kept" : "\nLIMITS EXCEEDED")
    return keepsLimits
  }

  static func measureCalls(_ options: CostOptions) throws(UsageError) -> Bool {
    print("call, ns            plain    more    limit")
    var keepsLimits = true
    var cost = unsafe call_cost()
    for index in Int32(0)... {
      let result = unsafe call_costs_measure(index, Int32(options.rounds), &cost)
      guard result >= 0 else { throw UsageError("cannot prepare calls: errno \(errno)") }
      guard result == 0 else { break }
      guard unsafe cost.is_interposed != 0 else { continue }
      let name = unsafe String(cString: cost.name)
      let limit = (callLimits[name] ?? callLimit) * options.slack
      let isKept = unsafe cost.more <= limit
      keepsLimits = isKept && keepsLimits
      let figures = unsafe [cost.plain, cost.more, limit].map { String(format: "%8.1f", $0) }
      print(padded(name), figures.joined(), isKept ? "" : "  EXCEEDED")
    }
    fflush(nil)
    return keepsLimits
  }

  static func measureStarts(_ options: CostOptions, empty: String) throws(UsageError) -> Bool {
    let turns = try Turns(
      of: Child(arguments: ["true"]), library: options.library, empty: empty,
      rounds: options.starts)
    let more = turns.quantile(0.5) { ($0.library - $0.plain) * 1000 }
    let limit = startLimit * options.slack
    let isKept = more <= limit
    print(
      """

      start of 'true'     plain    more    more with an empty object    limit of 'more'
      """)
    printRow(
      "time, ms",
      [
        turns.quantile(0.5) { $0.plain * 1000 }, more,
        turns.quantile(0.5) { ($0.empty - $0.plain) * 1000 },
      ], width: [8, 8, 29], suffix: String(format: "%19.3f", limit), isKept: isKept)
    let faults = turns.meanFaults
    printRow(
      "page faults", [faults[0], faults[1] - faults[0], faults[2] - faults[0]], width: [8, 8, 29],
      digits: 1)
    return isKept
  }

  static func measureScripts(_ options: CostOptions, empty: String) throws(UsageError) -> Bool {
    print(
      """

      times of scripts      library/without      empty/without      library/empty
      as ratios            median   lower      median   lower     median   lower  (quartile)
      """)
    var keepsLimits = true
    for (script, interpreter, program) in scripts {
      guard Child.isInstalled(interpreter), Child.isInstalled(program) else {
        print("\(script): not measured (\(program) is not installed)")
        continue
      }
      let child = Child(arguments: [interpreter, "\(options.scripts)/\(script)"])
      _ = try child.run(preloading: options.library)
      let turns = try Turns(
        of: child, library: options.library, empty: empty, rounds: options.turns)
      let ratios: [(Turns.Round) -> Double] = [
        { $0.library / $0.plain }, { $0.empty / $0.plain }, { $0.library / $0.empty },
      ]
      let figures = ratios.flatMap { ratio in [0.5, 0.25].map { turns.quantile($0, of: ratio) } }
      let isKept = figures[1] <= CostOptions.scriptLimit || figures[5] <= CostOptions.emptyLimit
      keepsLimits = isKept && keepsLimits
      printRow(script, figures, width: [11, 8, 12, 8, 11, 8], isKept: isKept)
      fflush(nil)
    }
    print(
      """
      limits: library/without \(CostOptions.scriptLimit), or library/empty \(CostOptions.emptyLimit), \
      both for the lower quartiles. The rest is
      the dynamic loader's work for any object, which programs of half a millisecond feel.
      """)
    return keepsLimits
  }

  static func printRow(
    _ name: String, _ figures: [Double], width: [Int], digits: Int = 3, suffix: String = "",
    isKept: Bool = true
  ) {
    let columns = zip(figures, width).map { String(format: "%\($1).\(digits)f", $0) }
    print(padded(name) + columns.joined() + suffix, isKept ? "" : "  EXCEEDED")
  }

  static func padded(_ name: String) -> String {
    name.padding(toLength: max(name.count, 16), withPad: " ", startingAt: 0)
  }
}
