/// Parses a port specification from left to right: subsystem, name, mode, options.
///
/// The grammar and the wording of errors are libnetmap's. A separate extension parses the options.
struct PortSpecificationParser {
  let text: [UInt8]
  let accepted: Set<PortOption>
  var position = 0
  /// The start of the name, after the `:` of the subsystem.
  private var nameStart = 0

  init(_ text: [UInt8], accepting accepted: Set<PortOption>) {
    self.text = text
    self.accepted = accepted
  }

  mutating func parse(
    interfaceExists: (String) -> Bool
  ) throws(NetmapError) -> PortSpecification {
    if let index = text.firstIndex(of: 0) {
      throw refusal("NUL byte at offset \(index)", "end the request before it")
    }
    var specification = PortSpecification(try parseName(interfaceExists))
    try parseSelection(into: &specification)
    try parseMode(into: &specification)
    try parseOptions(into: &specification, interfaceExists)
    return specification
  }
}

// MARK: - Subsystem and name

extension PortSpecificationParser {
  private mutating func parseName(
    _ interfaceExists: (String) -> Bool
  ) throws(NetmapError) -> PortName {
    let prefix = try parseSubsystem()
    if position < text.count, text[position] == PortText.quote {
      return try portName(prefix + takeQuoted())
    }
    let end = endOfName(interfaceExists)
    let name = text[position..<end]
    if let bracket = name.firstIndex(where: PortText.isBracket) {
      let id = name[(bracket + 1)...]
      guard !id.isEmpty else {
        throw refusal("invalid empty pipe name", "name the pipe after the bracket: parent{id")
      }
      guard id.allSatisfy(PortText.isIdentifierByte) else {
        throw refusal(
          "invalid pipe name '\(PortText.printable(id))'",
          "use letters, digits and '_', or quote the whole name: \(quotedForm(name))")
      }
    }
    position = end
    return try portName(prefix + name)
  }

  /// Consumes `netmap:` or `vale<id>:`, and returns the part of it that belongs to the port's name.
  private mutating func parseSubsystem() throws(NetmapError) -> [UInt8] {
    let isNetmap = text.starts(with: "netmap".utf8)
    guard isNetmap || text.starts(with: "vale".utf8) else {
      throw refusal("prefix unknown or missing", "begin with netmap: or vale<id>:")
    }
    guard let colon = text.firstIndex(of: UInt8(ascii: ":")) else {
      throw refusal("missing ':'", "write netmap:<interface> or vale<id>:<port>")
    }
    let id = text[(isNetmap ? 6 : 4)..<colon]
    if isNetmap, !id.isEmpty {
      throw refusal(
        "no identifier allowed between 'netmap' and ':', found '\(PortText.printable(id))'",
        "write netmap:<interface>")
    }
    guard id.allSatisfy(PortText.isIdentifierByte) else {
      throw refusal(
        "invalid identifier '\(PortText.printable(id))'",
        "the name of a switch is vale, then letters, digits or '_'")
    }
    position = colon + 1
    nameStart = position
    return isNetmap ? [] : [UInt8](text[..<position])
  }

  /// Consumes a name between quotes; `position` is at the opening quote.
  mutating func takeQuoted() throws(NetmapError) -> [UInt8] {
    let start = position
    var name: [UInt8] = []
    position += 1
    while position < text.count {
      let byte = text[position]
      position += 1
      if byte == PortText.quote {
        guard position < text.count, text[position] == PortText.quote else { return name }
        position += 1
      }
      name.append(byte)
    }
    throw refusal(
      "no closing quote after \(PortText.printable(text[start...]))",
      "close the name with ', and write ' twice inside it")
  }

  /// The end of the unquoted name at `position`.
  ///
  /// libnetmap ends the name at the first of `-*^/@`. Interface names may contain `-`, so if the
  /// text has a `-` the parser asks the system which reading names an interface.
  private func endOfName(_ interfaceExists: (String) -> Bool) -> Int {
    let rest = text[position...]
    let limit = rest.firstIndex(where: PortText.isModeByteOtherThanDash) ?? rest.endIndex
    let region = text[position..<limit]
    guard let dash = region.firstIndex(of: UInt8(ascii: "-")) else { return limit }
    func exists(_ end: Int) -> Bool {
      end > position && interfaceExists(String(decoding: text[position..<end], as: UTF8.self))
    }
    if let bracket = region.firstIndex(where: PortText.isBracket) {
      // Only the parent of a pipe can be an interface; a ring number follows the pipe.
      guard dash < bracket, exists(bracket) else { return dash }
      return text[bracket..<limit].firstIndex(of: UInt8(ascii: "-")) ?? limit
    }
    let lastDash = region.lastIndex(of: UInt8(ascii: "-")) ?? dash
    let number = text[(lastDash + 1)..<limit]
    if !number.isEmpty, number.allSatisfy(PortText.isDigit), exists(lastDash) { return lastDash }
    return exists(limit) ? limit : dash
  }

  private func portName(_ bytes: [UInt8]) throws(NetmapError) -> PortName {
    do throws(NetmapError) {
      return try PortName(bytes: bytes)
    } catch {
      throw error.about(subject)
    }
  }

  /// The request with `name` in quotes.
  private func quotedForm(_ name: ArraySlice<UInt8>) -> String {
    PortText.printable(text[..<nameStart] + PortSpecification.quoted(name))
  }
}

// MARK: - Mode

extension PortSpecificationParser {
  private static let modeHelp =
    "after the name come ^ or ^N, * or -N, then /flags and @memory-region, then options"

  private mutating func parseSelection(
    into specification: inout PortSpecification
  ) throws(NetmapError) {
    guard position < text.count else { return }
    switch text[position] {
    case UInt8(ascii: "*"):
      position += 1
      specification.selection = .hardwareAndHost
    case UInt8(ascii: "-"):
      position += 1
      specification.selection = .oneHardware(try takeRingNumber())
    case UInt8(ascii: "^"):
      position += 1
      let numbered = position < text.count && PortText.isDigit(text[position])
      specification.selection = numbered ? .oneHost(try takeRingNumber()) : .host
    case UInt8(ascii: "/"), UInt8(ascii: "@"):
      return
    default:
      let isPipe = PortText.isBracket(text[position])
      throw refusal(
        "unknown modifier: \(offender)",
        isPipe ? "write a pipe inside the quotes: 'parent{id'" : Self.modeHelp)
    }
  }

  /// Consumes flags and memory regions, up to the first option or the end.
  private mutating func parseMode(
    into specification: inout PortSpecification
  ) throws(NetmapError) {
    while position < text.count {
      switch text[position] {
      case UInt8(ascii: "/"):
        position += 1
        try parseFlags(into: &specification.flags, &specification.isIsolated)
      case UInt8(ascii: "@"):
        guard position + 1 < text.count else {
          throw refusal(
            "invalid empty mem_id", "give a memory region, @1 or above, or an option")
        }
        guard PortText.isDigit(text[position + 1]) else { return }
        position += 1
        try parseMemoryID(into: &specification.memoryID)
      default:
        let isDash = text[position] == UInt8(ascii: "-")
        throw refusal(
          "unexpected character: \(offender)",
          isDash ? Self.modeHelp + "; quote a name that contains '-'" : Self.modeHelp)
      }
    }
  }

  private mutating func parseFlags(
    into flags: inout BindingFlags, _ isIsolated: inout Bool
  ) throws(NetmapError) {
    let help = "flags are x, z, t, r, R, T and i"
    let start = position
    while position < text.count {
      if text[position] == PortText.isolatedLetter {
        isIsolated = true
      } else if let flag = BindingFlags(letter: text[position]) {
        flags.insert(flag)
      } else {
        break
      }
      position += 1
    }
    guard position < text.count else {
      if position == start { throw refusal("unexpected end of request after '/'", help) }
      return
    }
    // Like libnetmap, accept "/@" as an empty list of flags.
    let isSeparator = text[position] == UInt8(ascii: "/") && position > start
    guard isSeparator || text[position] == UInt8(ascii: "@") else {
      throw refusal("unrecognized flag: \(offender)", help)
    }
  }

  private mutating func parseMemoryID(into memoryID: inout UInt16?) throws(NetmapError) {
    let digits = takeDigits()
    guard let value = PortText.decimal(digits, below: 0x10000), value > 0 else {
      throw refusal(
        "invalid mem_id: '\(PortText.printable(digits))'", "memory regions are 1 to 65535")
    }
    if let memoryID, memoryID != UInt16(value) {
      throw refusal(
        "invalid setting of mem_id to \(value) (already set to \(memoryID))",
        "name one memory region")
    }
    memoryID = UInt16(value)
  }

  private mutating func takeRingNumber() throws(NetmapError) -> UInt16 {
    let rest = text[position...]
    let digits = takeDigits()
    guard !digits.isEmpty else {
      // Only `-` leads here; most likely the user meant it as part of an interface name.
      let region = rest.prefix { !PortText.isModeByteOtherThanDash($0) }
      let isQuoted = text[nameStart] == PortText.quote
      let name = quotedForm(text[nameStart..<region.endIndex])
      throw refusal(
        "got '\(PortText.printable(rest))' while expecting a number",
        "a ring number follows '-'" + (isQuoted ? "" : "; quote a name that contains '-': \(name)"))
    }
    guard let value = PortText.decimal(digits, below: UInt64(RingSelection.textLimit)) else {
      throw refusal(
        "'\(PortText.printable(digits))' out of range [0, \(RingSelection.textLimit))",
        "choose a lower ring number")
    }
    return UInt16(value)
  }

  private mutating func takeDigits() -> ArraySlice<UInt8> {
    let digits = text[position...].prefix(while: PortText.isDigit)
    position = digits.endIndex
    return digits
  }
}

// MARK: - Refusals

extension PortSpecificationParser {
  /// The whole request, which every error reports.
  var subject: String {
    text.isEmpty ? "''" : PortText.printable(text)
  }

  /// The character at `position`, in quotes, and its offset.
  private var offender: String {
    let next = text[(position + 1)...].firstIndex { $0 & 0xc0 != 0x80 } ?? text.endIndex
    return "'\(PortText.printable(text[position..<next]))' at offset \(position)"
  }

  func refusal(
    _ reason: String, _ remedy: String, code: NetmapError.Code = .invalidArgument
  ) -> NetmapError {
    NetmapError(code, "parse", subject, reason: reason, remedy: remedy)
  }
}
