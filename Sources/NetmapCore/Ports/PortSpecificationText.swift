extension PortSpecification: CustomStringConvertible {
  /// The specification as text that ``parse(_:enabling:disabling:interfaceExists:)`` reads back to
  /// an equal value.
  ///
  /// There is one text for each value: options come in a fixed order, numbers without leading
  /// zeros, and quotes only where they are needed. Text that needs no quotes is read alike by
  /// libnetmap, the options `backend` and `backpressure` aside.
  ///
  /// Port specifications have no words for some values, which are left out or cannot be read back:
  /// the selection `.null`, ring numbers of 4095 and above, flags without a letter
  /// (`acceptVirtioNetHeader`, `doReceivePoll`, `noTransmitPoll`, unknown bits), and, since this is
  /// a `String`, names that are not UTF-8; ``bytes`` is exact for those. A text with `offset` is
  /// read only where that option is enabled.
  public var description: String {
    String(decoding: bytes, as: UTF8.self)
  }

  /// The text of ``description`` with the names as the bytes they are.
  public var bytes: [UInt8] {
    var text = Self.nameText(name)
    text += selection.suffix.utf8
    let letters = BindingFlags.letters.filter { flags.contains($0.flag) }.map(\.letter)
    if !letters.isEmpty { text += [UInt8(ascii: "/")] + letters }
    if let memoryID { text += "@\(memoryID)".utf8 }
    if let sharedPort { text += "@share=".utf8 + Self.nameText(sharedPort) }
    // "@conf=4" would do for the rings, but libnetmap reads only the long form.
    text += Self.optionText(.conf, conf.pairs, brief: false)
    text += Self.optionText(.extmem, extmem?.pairs ?? [])
    text += Self.optionText(.offset, offset?.pairs ?? [])
    text += Self.optionText(.backend, backend?.pairs ?? [])
    if backpressure { text += "@\(PortOption.backpressure)".utf8 }
    return text
  }

  /// `@option=value` when the only pair is the default one, else `@option:key=value,...`.
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

  /// `subsystem:name`, quoted where a plain name would be read otherwise.
  private static func nameText(_ name: PortName) -> [UInt8] {
    let bytes = name.bytes
    let start = PortText.endOfSwitchPrefix(bytes) ?? 0
    let prefix = start == 0 ? [UInt8]("netmap:".utf8) : [UInt8](bytes[..<start])
    let rest = bytes[start...]
    guard needsQuotes(rest) else { return prefix + rest }
    return prefix + quoted(rest)
  }

  /// `name` between quotes, each quote inside it doubled.
  static func quoted(_ name: ArraySlice<UInt8>) -> [UInt8] {
    let quote = PortText.quote
    return [quote] + name.flatMap { $0 == quote ? [quote, quote] : [$0] } + [quote]
  }

  private static func needsQuotes(_ name: ArraySlice<UInt8>) -> Bool {
    // A quote behind a ':' would open a quoted name; elsewhere it could stay, but one rule is enough.
    if name.contains(where: { $0 == PortText.quote || PortText.isModeByte($0) }) { return true }
    // Unquoted pipes are simpler than the kernel's: one bracket, an identifier after it.
    guard let bracket = name.firstIndex(where: PortText.isBracket) else { return false }
    return !name[(bracket + 1)...].allSatisfy(PortText.isIdentifierByte)
  }
}
