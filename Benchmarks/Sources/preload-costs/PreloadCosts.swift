internal import CallCosts
internal import Foundation

/// Measures what the preloaded C library costs programs that never use netmap.
@main
struct PreloadCosts {
  /// Nanoseconds that a call on a descriptor may cost more, unless `callLimits` has its name.
  static let callLimit = 10.0
  static let callLimits = ["poll of 64": 32.0]
  /// Milliseconds that a start of `true` may cost more.
  static let startLimit = 0.1
  /// Limit of the ratio of a script's wall-clock times.
  static let scriptLimit = 1.05

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
      var keepsLimits =
        try Child(
          arguments: [
            "/proc/self/exe", "--calls", "--rounds", "\(options.rounds)", "--slack",
            "\(options.slack)",
          ]
        ).run(preloading: options.library, showsOutput: true).status == 0
      keepsLimits = try measureStarts(options) && keepsLimits
      if !options.scripts.isEmpty { keepsLimits = try measureScripts(options) && keepsLimits }
      print(keepsLimits ? "\nall limits kept" : "\nLIMITS EXCEEDED")
      exit(keepsLimits ? 0 : 1)
    } catch {
      FileHandle.standardError.write(Data("preload-costs: \(error)\n\(CostOptions.usage)\n".utf8))
      exit(64)
    }
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

  static func measureStarts(_ options: CostOptions) throws(UsageError) -> Bool {
    let program = Child(arguments: ["true"])
    var (plain, more): ([Double], [Double]) = ([], [])
    for _ in 0..<options.starts {
      let alone = try program.run(preloading: nil).seconds * 1000
      plain.append(alone)
      more.append(try program.run(preloading: options.library).seconds * 1000 - alone)
    }
    let limit = startLimit * options.slack
    let isKept = quantile(more, 0.5) <= limit
    print("\nstart, ms           plain    more    limit")
    let figures = [quantile(plain, 0.5), quantile(more, 0.5), limit].map {
      String(format: "%8.3f", $0)
    }
    print(padded("true"), figures.joined(), isKept ? "" : "  EXCEEDED")
    return isKept
  }

  static func measureScripts(_ options: CostOptions) throws(UsageError) -> Bool {
    print("\nscript              ratio   lower   upper   limit   (median and quartiles)")
    var keepsLimits = true
    for (script, interpreter, program) in scripts {
      guard Child.isInstalled(interpreter), Child.isInstalled(program) else {
        print("\(script): not measured (\(program) is not installed)")
        continue
      }
      let child = Child(arguments: [interpreter, "\(options.scripts)/\(script)"])
      _ = try child.run(preloading: options.library)
      var ratios: [Double] = []
      for pair in 0..<options.pairs {
        // Each is first in every other pair.
        let order = pair % 2 == 0 ? [nil, options.library] : [options.library, nil]
        var times: [Double] = []
        for library in order { times.append(try child.run(preloading: library).seconds) }
        ratios.append(pair % 2 == 0 ? times[1] / times[0] : times[0] / times[1])
      }
      let isKept = quantile(ratios, 0.25) <= scriptLimit
      keepsLimits = isKept && keepsLimits
      let figures = [0.5, 0.25, 0.75].map { quantile(ratios, $0) } + [scriptLimit]
      print(
        padded(script), figures.map { String(format: "%8.3f", $0) }.joined(),
        isKept ? "" : "  EXCEEDED")
      fflush(nil)
    }
    return keepsLimits
  }

  static func quantile(_ values: [Double], _ part: Double) -> Double {
    values.sorted()[Int(Double(values.count - 1) * part)]
  }

  static func padded(_ name: String) -> String {
    name.padding(toLength: max(name.count, 16), withPad: " ", startingAt: 0)
  }
}
