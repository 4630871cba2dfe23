import CTrace
import Glibc

/// Long runs of many processes, which print what they have counted:
///
///     soak sleep|kill|open [--seed N] [--seconds N] [--json] [--dumps FOLDER] [--fault NAME]
///
/// `sleep`: round trips between processes that sleep. `kill`: processes that are killed and stopped while they
/// exchange packets, and a ledger of all packets. `open`: opens and closes of everything.
///
/// Exits with 1 after a failure: all processes are stopped then, a dump is written, and the commands that read it and that
/// repeat the run are printed. A fault is a deliberate mistake of a process of the soak, which must make it fail.
@main
enum Soak {
  static func main() {
    do {
      var words = CommandLine.arguments.dropFirst()
      let command = words.popFirst() ?? ""
      if command == "worker" {
        ctrace_die_with_parent()
        try PacketWorker.run(Array(words))
        exit(0)
      }
      let options = try SoakOptions(command, Array(words))
      // A write to a worker that has died is no reason to end.
      signal(SIGPIPE, SIG_IGN)
      switch options.kind {
      case .kill: try KillSoak(options).run()
      case .sleep: try SleepSoak(options).run()
      case .open: try OpenSoak(options).run()
      }
      exit(0)
    } catch let error as SoakFailure {
      print("soak: \(error)")
      exit(1)
    } catch {
      print("soak: \(error)")
      exit(2)
    }
  }
}

/// What the soak does.
enum SoakKind: String, CaseIterable {
  case sleep, kill, open
}

/// A deliberate mistake, which a soak must find.
enum SoakFault: String, CaseIterable {
  /// A receiver forgets one packet.
  case lose
  /// A sender sends one packet twice.
  case `repeat`
  /// A sender damages one packet.
  case damage
  /// A process sleeps on although it has a packet.
  case oversleep
  /// A process keeps a descriptor.
  case leak
}

struct SoakOptions {
  let kind: SoakKind
  var seed = UInt64(time(nil))
  var seconds = 120
  var isJSON = false
  /// The folder for dumps.
  var dumps = "."
  var fault: SoakFault?
  /// The number of round trips after which the sleeping soak ends, if it has not ended before.
  var trips: UInt64?

  init(_ command: String, _ words: [String]) throws {
    guard let kind = SoakKind(rawValue: command) else {
      throw SoakError("no such soak: '\(command)'; there are sleep, kill and open")
    }
    self.kind = kind
    var rest = words[...]
    func value() throws -> String {
      guard let word = rest.popFirst() else { throw SoakError("an option has no value") }
      return word
    }
    func number() throws -> UInt64 {
      let word = try value()
      guard let number = UInt64(word) else { throw SoakError("no number: \(word)") }
      return number
    }
    while let word = rest.popFirst() {
      switch word {
      case "--seed": seed = try number()
      case "--seconds": seconds = Int(clamping: try number())
      case "--trips": trips = try number()
      case "--json": isJSON = true
      case "--dumps": dumps = try value()
      case "--fault":
        let word = try value()
        guard let fault = SoakFault(rawValue: word) else { throw SoakError("no fault: \(word)") }
        self.fault = fault
      default: throw SoakError("no such option: \(word)")
      }
    }
  }

  /// The command that repeats the run.
  var command: String {
    "soak \(kind.rawValue) --seed \(seed) --seconds \(seconds)"
      + (fault.map { " --fault \($0.rawValue)" } ?? "")
  }
}

/// The soak cannot run.
struct SoakError: Error, CustomStringConvertible {
  let description: String
  init(_ text: String) { description = text }
}

/// The soak has found something.
struct SoakFailure: Error, CustomStringConvertible {
  let description: String
  init(_ text: String) { description = text }
}

/// SplitMix64, so that a run can be repeated from its seed.
struct SoakRandom: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    return Self.mix(state)
  }

  mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }

  static func mix(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}

/// The monotonic clock, nanoseconds.
func now() -> UInt64 {
  var time = timespec()
  unsafe clock_gettime(CLOCK_MONOTONIC, &time)
  return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
}
