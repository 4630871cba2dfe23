internal import Netmap
package import ToolSupport

/// Parses the arguments of `pkt-gen` into a ``Configuration``, and logs the messages that netmap's
/// pkt-gen logs while it does so.
package struct CommandLineReader {
  package enum Outcome: Sendable {
    case run(Configuration)
    case help
  }

  private let log: ToolLog
  private var configuration: Configuration
  private var hasInterface = false
  private var hasSize = false
  private var hasCPUs = false
  private var burst = 0
  private var sourceText: String?
  private var destinationText: String?

  static let shortOptions = "46a:f:F:Nn:i:Il:d:s:D:S:b:c:o:p:T:w:WvR:XC:H:rP:zZAhBM:"
  static let longOptions = [
    "busy-wait": false, "json": false, "total-rate": false, "size-per-packet": false,
    "embedded": false, "help": false,
  ]

  /// Reads a whole command line.
  ///
  /// - Parameters:
  ///   - arguments: The arguments without the program's name.
  ///   - program: The program's name. `pkt-gen-b` implies `--busy-wait`.
  ///   - cpuCount: Number of CPUs of the machine.
  ///   - log: Receives notes and warnings.
  /// - Returns: The configuration to run, or a request for help.
  /// - Throws: ``Refusal`` for a command line that cannot be run.
  package static func read(
    _ arguments: [String], program: String, cpuCount: Int = WorkerThread.cpuCount, log: ToolLog
  ) throws(Refusal) -> Outcome {
    var reader = CommandLineReader(log: log, configuration: try Configuration(.rx, on: .null))
    reader.configuration.busyWaits = program == "pkt-gen-b"
    var scanner = OptionScanner(arguments, short: shortOptions, long: longOptions)
    while let item = scanner.next() {
      switch item {
      case .short("h", _), .long("help", _): return .help
      case .short(let letter, let value): try reader.take(letter, value ?? "")
      case .long(let name, _): reader.takeLong(name)
      case .operand(let word): reader.note("ignored '\(word)', which is not an option")
      case .invalid(let what): throw .usage("bad option \(what)")
      }
    }
    return .run(try reader.finish(cpuCount))
  }

  private init(log: ToolLog, configuration: Configuration) {
    self.log = log
    self.configuration = configuration
  }

  private func note(_ message: String) {
    log(message, function: "main")
  }
}

// MARK: - Options

extension CommandLineReader {
  private mutating func takeLong(_ name: String) {
    switch name {
    case "busy-wait": configuration.busyWaits = true
    case "embedded": configuration.isEmbedded = true
    case "json": configuration.printsJSON = true
    case "total-rate": configuration.isRateTotal = true
    default: configuration.sizePerPacket = true
    }
  }

  private mutating func take(_ letter: Character, _ value: String) throws(Refusal) {
    if takeSwitch(letter) { return }
    if try takeText(letter, value) { return }
    takeNumber(letter, number(value, of: letter))
    if letter == "R", configuration.rate < 0 { throw .usage("bad rate \(value)") }
  }

  /// Handles options without a value.
  private mutating func takeSwitch(_ letter: Character) -> Bool {
    switch letter {
    case "4": configuration.family = .ipv4
    case "6": configuration.family = .ipv6
    case "N": configuration.scaling = .plain
    case "I": configuration.options.insert(.indirect)
    case "W": configuration.exitsWhenIdle = true
    case "v": configuration.verbosity += 1
    case "X": configuration.options.insert(.dump)
    case "r": configuration.options.insert(.rubbish)
    case "z": configuration.options.insert(.randomSource)
    case "Z": configuration.options.insert(.randomDestination)
    case "A": configuration.options.insert(.rateStatistics)
    // CRC: 4 bytes; preamble and gap: 20 bytes.
    case "B": configuration.framingBits = 24 * 8
    default: return false
    }
    return true
  }

  /// Handles options whose value is not a number.
  private mutating func takeText(_ letter: Character, _ value: String) throws(Refusal) -> Bool {
    switch letter {
    case "f":
      guard let mode = Mode(rawValue: value) else {
        throw Refusal("unrecognised function \(value)")
      }
      configuration.mode = mode
    case "i":
      note("interface is \(value)")
      guard value.utf8.count <= InterfaceName.lengthMax else {
        note("ifname too long \(value)")
        break
      }
      configuration.interface = InterfaceName(value)
      hasInterface = !value.isEmpty
    case "s": sourceText = value
    case "d": destinationText = value
    case "S": configuration.sourceMACText = value
    case "D": configuration.destinationMACText = value
    case "P": configuration.packetFile = value
    case "C":
      note("WARNING: the 'C' option is deprecated, use '@conf:' in the port name instead")
      configuration.rings = RingConfiguration(value)
    default: return false
    }
    return true
  }

  private mutating func takeNumber(_ letter: Character, _ number: Int) {
    switch letter {
    case "n": configuration.packetLimit = UInt64(max(0, number))
    case "F":
      if Configuration.fragmentCounts.contains(number) {
        configuration.fragments = number
      } else {
        note("invalid frags \(number) [1..63], ignore")
      }
    case "M": configuration.fragmentSize = number > 0 ? number : nil
    case "o": configuration.options.formUnion(GenerationOptions(rawValue: number))
    case "a": configuration.affinity = number >= 0 ? number : nil
    case "l":
      if hasSize {
        configuration.minimumSize = number > 0 ? number : nil
      } else {
        configuration.size = number
        hasSize = true
      }
    case "T": configuration.reportInterval = UInt64(max(0, min(number, 1 << 40))) * 1_000_000
    case "w": configuration.linkWait = max(0, min(number, 1 << 30))
    case "b": burst = max(0, number)
    case "c":
      configuration.cpus = number
      hasCPUs = true
    case "p": configuration.threads = number
    case "R": configuration.rate = number
    default: configuration.virtioHeaderLength = number
    }
  }

  /// Takes the leading digits of other text, as traditional pkt-gen does, so that its command lines keep working.
  private func number(_ text: String, of letter: Character) -> Int {
    if let number = LeadingNumber.scaled(text) { return number }
    let number = LeadingNumber(text).value
    note("option -\(letter): '\(text)' is not a whole number, using \(number)")
    return number
  }
}

// MARK: - Checks

extension CommandLineReader {
  private mutating func finish(_ cpuCount: Int) throws(Refusal) -> Configuration {
    guard hasInterface else { throw .usage("missing ifname") }
    if burst == 0 {
      burst = configuration.mode.defaultBurst
      note("using default burst size: \(burst)")
    }
    configuration.burst = burst
    try checkCPUs(cpuCount)
    try checkSizes()
    raiseSize()
    try readAddresses()
    guard [0, 10, 12].contains(configuration.virtioHeaderLength) else {
      throw .usage("bad virtio-net-header length")
    }
    return configuration
  }

  private mutating func checkCPUs(_ present: Int) throws(Refusal) {
    guard (0...present).contains(configuration.cpus) else {
      throw .usage("\(configuration.cpus) cpus is too high, have only \(present) cpus")
    }
    note("running on \(configuration.cpus) cpus (have \(present))")
    if configuration.cpus == 0 { configuration.cpus = present }
    configuration.affinityModulus = hasCPUs ? configuration.cpus : present
  }

  private mutating func checkSizes() throws(Refusal) {
    let limits = Configuration.sizes
    guard limits.contains(configuration.size) else {
      throw .usage(
        "bad pktsize \(configuration.size) [\(limits.lowerBound)..\(limits.upperBound)]")
    }
    guard let minimum = configuration.minimumSize else { return }
    guard minimum >= limits.lowerBound, minimum <= configuration.size else {
      throw .usage("bad pktminsize \(minimum) [\(limits.lowerBound)..\(configuration.size)]")
    }
    // Two equal sizes leave no choice.
    if minimum == configuration.size { configuration.minimumSize = nil }
  }

  /// Makes room in `ping` requests for the number and the time.
  private mutating func raiseSize() {
    let needed = FrameLayout(configuration.family).payload + Ping.stampLength
    guard configuration.mode == .ping, configuration.size < needed else { return }
    note("pktsize \(configuration.size) has no room for a time stamp, using \(needed)")
    configuration.size = needed
  }

  private mutating func readAddresses() throws(Refusal) {
    for text in [configuration.sourceMACText, configuration.destinationMACText] {
      if let text, MACAddress(text) == nil { throw .usage("invalid MAC address '\(text)'") }
    }
    let family = configuration.family
    configuration.sourceText = sourceText ?? family.defaultSource
    configuration.destinationText = destinationText ?? family.defaultDestination
    configuration.source = try AddressRange(configuration.sourceText, family: family)
    note("range is \(configuration.source.text)")
    configuration.destination = try AddressRange(configuration.destinationText, family: family)
    note("range is \(configuration.destination.text)")
    configuration.copiesWholeFrame =
      !configuration.options.isDisjoint(with: [.copy, .memcpy])
    if configuration.source.varies || configuration.destination.varies {
      configuration.options.insert(.copy)
    }
  }
}
