extension PortSpecification: CustomStringConvertible {
  /// The specification as text, which ``parse(_:enabling:disabling:interfaceExists:)`` parses to an equal value.
  ///
  /// Each value has exactly one text: options come in a fixed order, numbers have no leading zeros, and quotes
  /// appear only where needed. libnetmap reads text without quotes in the same way, except for the options
  /// `backend` and `backpressure`.
  ///
  /// Port specifications cannot express some values, which are omitted or cannot be parsed again: the selection
  /// `.null`, ring numbers of 4095 and above, flags without a letter (`acceptVirtioNetHeader`, `doReceivePoll`,
  /// `noTransmitPoll`, unknown bits), and, since this is a `String`, names that are not UTF-8; ``bytes`` is exact
  /// for those. Text with `offset` can be parsed only if that option is enabled.
  public var description: String {
    String(decoding: bytes, as: UTF8.self)
  }

  /// The text of ``description`` as bytes, with the exact bytes of the names.
  public var bytes: [UInt8] {
    let suffix = selection.suffix.utf8
    var text = Self.nameText(name, before: suffix.first)
    text += suffix
    let letters =
      BindingFlags.letters.filter { flags.contains($0.flag) }.map(\.letter)
      + (isIsolated ? [PortText.isolatedLetter] : [])
    if !letters.isEmpty { text += [UInt8(ascii: "/")] + letters }
    if let memoryID { text += "@\(memoryID)".utf8 }
    if let sharedPort { text += "@share=".utf8 + Self.nameText(sharedPort) }
    // "@conf=4" would suffice for the rings, but libnetmap reads only the long form.
    text += Self.optionText(.conf, conf.pairs, brief: false)
    text += Self.optionText(.extmem, extmem?.pairs ?? [])
    text += Self.optionText(.offset, offset?.pairs ?? [])
    text += Self.optionText(.backend, backend?.pairs ?? [])
    if backpressure { text += "@\(PortOption.backpressure)".utf8 }
    return text
  }

  /// `@option=value` if the only pair is the default one, else `@option:key=value,...`.
  private static func optionText(
    _ option: PortOption, _ pairs: [PortOptionPair], brief: Bool = true
  ) -> [UInt8] {
    guard let first = pairs.first else { return [] }
    if brief, pairs.count == 1, first.key == option.defaultKey {
      return [UInt8]("@\(option.rawValue)=\(first.value)".utf8)
    }
    let body = pairs.map { "\($0.key.rawValue)=\($0.value)" }.joined(separator: ",")
    return [UInt8]("@\(option.rawValue):\(body)".utf8)
  }

  /// `subsystem:name`, quoted if the plain name would be parsed differently before the byte `next`.
  private static func nameText(_ name: PortName, before next: UInt8? = nil) -> [UInt8] {
    let bytes = name.bytes
    let start = PortText.endOfSwitchPrefix(bytes) ?? 0
    let prefix = start == 0 ? [UInt8]("netmap:".utf8) : [UInt8](bytes[..<start])
    let rest = bytes[start...]
    // In `vale0:-1`, the whole `-1` could be the name of an interface.
    let isAmbiguous = rest.isEmpty && next == UInt8(ascii: "-")
    guard isAmbiguous || needsQuotes(rest) else { return prefix + rest }
    return prefix + quoted(rest)
  }

  /// `name` between quotes, each quote inside it doubled.
  static func quoted(_ name: ArraySlice<UInt8>) -> [UInt8] {
    let quote = PortText.quote
    return [quote] + name.flatMap { $0 == quote ? [quote, quote] : [$0] } + [quote]
  }

  private static func needsQuotes(_ name: ArraySlice<UInt8>) -> Bool {
    // A quote after a ':' would begin a quoted name. Elsewhere a quote could stay unquoted, but one rule
    // suffices.
    if name.contains(where: { $0 == PortText.quote || PortText.isModeByte($0) }) { return true }
    // Unquoted pipe names are simpler than the kernel's: one bracket, followed by an identifier.
    guard let bracket = name.firstIndex(where: PortText.isBracket) else { return false }
    return !name[(bracket + 1)...].allSatisfy(PortText.isIdentifierByte)
  }
}
