/// The values assigned to an option's keys, as text.
private typealias Assignments = [PortOptionKey: ArraySlice<UInt8>]

extension PortSpecificationParser {
  /// Parses all options up to the end of the text; `position` is at an `@` or at the end.
  mutating func parseOptions(
    into specification: inout PortSpecification, _ interfaceExists: (String) -> Bool
  ) throws(NetmapError) {
    while position < text.count {
      position += 1
      let body = try takeOption()
      let delimiter = body.firstIndex { $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: "=") }
      let option = try option(named: body[..<(delimiter ?? body.endIndex)])
      if option.keys.isEmpty {
        guard delimiter == nil else {
          throw refusal("option '\(option)' takes no value", "write @\(option)")
        }
        try apply(option, [:], to: &specification, interfaceExists)
        continue
      }
      guard let delimiter else {
        throw refusal("syntax error: missing body after '\(option)'", Self.usage(of: option))
      }
      let rest = body[(delimiter + 1)...]
      let isBrief = body[delimiter] == UInt8(ascii: "=")
      guard !rest.isEmpty else {
        throw refusal("missing value for option '\(option)'", Self.usage(of: option))
      }
      let values: Assignments
      if isBrief, let key = option.defaultKey {
        values = [key: rest]
      } else {
        values = try assignments(in: rest, of: option)
      }
      if let key = option.mandatoryKey, values[key] == nil {
        throw refusal(
          "option '\(option)': mandatory key '\(key.rawValue)' not assigned",
          Self.usage(of: option))
      }
      try apply(option, values, to: &specification, interfaceExists)
    }
  }

  /// Consumes one option, without the `@` before it.
  private mutating func takeOption() throws(NetmapError) -> ArraySlice<UInt8> {
    let start = position
    // Only the port named by `share` can be quoted, and an `@` may appear only inside quotes.
    let canQuote = text[start...].starts(with: PortOption.share.rawValue.utf8)
    while position < text.count, text[position] != UInt8(ascii: "@") {
      let isColon = text[position] == UInt8(ascii: ":")
      position += 1
      if canQuote, isColon, position < text.count, text[position] == PortText.quote {
        _ = try takeQuoted()
      }
    }
    return text[start..<position]
  }

  private func option(named name: ArraySlice<UInt8>) throws(NetmapError) -> PortOption {
    let choices = PortOption.allCases.map(\.rawValue).joined(separator: ", ")
    guard !name.isEmpty else {
      throw refusal("invalid empty option", "options are \(choices)")
    }
    guard let option = PortOption(rawValue: String(decoding: name, as: UTF8.self)) else {
      let isNumber = name.allSatisfy(PortText.isDigit)
      throw refusal(
        "unknown option: '\(PortText.printable(name))'",
        isNumber
          ? "a memory region @\(PortText.printable(name)) goes in front of the options"
          : "options are \(choices)")
    }
    guard accepted.contains(option) else {
      throw refusal(
        "option '\(option)' is not supported", "the program must enable this option",
        code: .unsupported)
    }
    return option
  }

  /// Splits `key=value,key=value`.
  private func assignments(
    in body: ArraySlice<UInt8>, of option: PortOption
  ) throws(NetmapError) -> Assignments {
    var values = Assignments()
    for pair in body.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
      let equals = pair.firstIndex(of: UInt8(ascii: "="))
      let name = pair[..<(equals ?? pair.endIndex)]
      let spelling = name.map { $0 == UInt8(ascii: "_") ? UInt8(ascii: "-") : $0 }
      guard let key = PortOptionKey(rawValue: String(decoding: spelling, as: UTF8.self)),
        option.keys.contains(key)
      else {
        throw refusal("unknown key: '\(PortText.printable(name))'", Self.usage(of: option))
      }
      if let earlier = values[key] {
        throw refusal(
          "option '\(option)': duplicate key '\(key.rawValue)', "
            + "already set to '\(PortText.printable(earlier))'",
          "assign each key once")
      }
      guard let equals, equals + 1 < pair.endIndex else {
        throw refusal(
          "option '\(option)': missing '=value' for key '\(key.rawValue)'",
          "write \(key.rawValue)=value")
      }
      values[key] = pair[(equals + 1)...]
    }
    return values
  }

  private static func usage(of option: PortOption) -> String {
    guard let key = option.defaultKey else { return "write @\(option)" }
    let keys = option.keys.map(\.rawValue).joined(separator: ", ")
    return "write @\(option)=<\(key.rawValue)> or @\(option):key=value,...; "
      + "keys are \(keys)"
  }
}

// MARK: - What the options mean

extension PortSpecificationParser {
  private func apply(
    _ option: PortOption, _ values: Assignments, to specification: inout PortSpecification,
    _ interfaceExists: (String) -> Bool
  ) throws(NetmapError) {
    switch option {
    case .conf:
      // As in libnetmap, several `conf` options accumulate, and the last value of a key counts.
      try apply(values, to: &specification.conf)
    case .share:
      let port = try sharedPort(values, interfaceExists)
      if let earlier = specification.sharedPort, earlier != port { throw repeated(option) }
      specification.sharedPort = port
    case .extmem:
      if specification.extmem != nil { throw repeated(option) }
      specification.extmem = try externalMemory(values)
    case .offset:
      if specification.offset != nil { throw repeated(option) }
      specification.offset = try payloadOffset(values)
    case .backend:
      if specification.backend != nil { throw repeated(option) }
      specification.backend = try backendChoice(values)
    case .backpressure:
      if specification.backpressure { throw repeated(option) }
      specification.backpressure = true
    }
  }

  private func repeated(_ option: PortOption) -> NetmapError {
    refusal("option '\(option)' is given twice", "give it once")
  }

  private func apply(
    _ values: Assignments, to conf: inout RingGeometryHints
  ) throws(NetmapError) {
    if let rings: UInt16 = try number(.rings, values) {
      (conf.transmitRings, conf.receiveRings) = (rings, rings)
    }
    if let rings: UInt16 = try number(.hostRings, values) {
      (conf.hostTransmitRings, conf.hostReceiveRings) = (rings, rings)
    }
    if let slots: UInt32 = try number(.slots, values) {
      (conf.transmitSlots, conf.receiveSlots) = (slots, slots)
    }
    // Within one option, more specific keys take precedence, regardless of their order.
    conf.transmitRings = try number(.transmitRings, values) ?? conf.transmitRings
    conf.receiveRings = try number(.receiveRings, values) ?? conf.receiveRings
    conf.hostTransmitRings = try number(.hostTransmitRings, values) ?? conf.hostTransmitRings
    conf.hostReceiveRings = try number(.hostReceiveRings, values) ?? conf.hostReceiveRings
    conf.transmitSlots = try number(.transmitSlots, values) ?? conf.transmitSlots
    conf.receiveSlots = try number(.receiveSlots, values) ?? conf.receiveSlots
  }

  /// The name of the port to share memory with.
  ///
  /// libnetmap reads only a name. Here a mode after the name must be valid, and is ignored, because
  /// a region has no rings to select.
  private func sharedPort(
    _ values: Assignments, _ interfaceExists: (String) -> Bool
  ) throws(NetmapError) -> PortName? {
    guard let value = values[.port] else { return nil }
    do throws(NetmapError) {
      var parser = PortSpecificationParser([UInt8](value), accepting: [])
      return try parser.parse(interfaceExists: interfaceExists).name
    } catch {
      throw refusal("option 'share': port \(error.subject): \(error.reason)", error.remedy)
    }
  }

  private func externalMemory(
    _ values: Assignments
  ) throws(NetmapError) -> PortSpecification.ExternalMemory? {
    guard let value = values[.file] else { return nil }
    guard let file = String(validating: value, as: UTF8.self) else {
      throw refusal(
        "option 'extmem': the file name is not UTF-8", "give the file another path")
    }
    func pool(
      _ count: PortOptionKey, _ size: PortOptionKey
    ) throws(NetmapError) -> PortSpecification.ExternalMemory.Pool {
      .init(count: try number(count, values) ?? 0, size: try number(size, values) ?? 0)
    }
    let interfaces = try pool(.ifNum, .ifSize)
    let rings = try pool(.ringNum, .ringSize)
    let buffers = try pool(.bufNum, .bufSize)
    do throws(NetmapError) {
      return try .init(file: file, interfaces: interfaces, rings: rings, buffers: buffers)
    } catch {
      throw error.about(subject)
    }
  }

  private func payloadOffset(
    _ values: Assignments
  ) throws(NetmapError) -> PortSpecification.PayloadOffset? {
    guard let initial: UInt32 = try number(.initial, values) else { return nil }
    let limit = UInt64(PortSpecification.PayloadOffset.bitCountMax) + 1
    let bits: UInt8 = try number(.bits, values, below: limit) ?? 0
    do throws(NetmapError) {
      return try .init(initial: initial, bits: bits)
    } catch {
      throw error.about(subject)
    }
  }

  private func backendChoice(
    _ values: Assignments
  ) throws(NetmapError) -> PortSpecification.BackendChoice? {
    let mode: PortSpecification.BackendChoice.Mode? = try choice(.mode, values)
    let name: PortSpecification.BackendChoice.Name? = try choice(.name, values)
    if let name { return .init(name, mode: mode) }
    return mode.map { .init(mode: $0) }
  }
}

// MARK: - Values

extension PortSpecificationParser {
  /// The number assigned to `key`, a decimal number below `limit`; nil when there is none.
  ///
  /// libnetmap reads leading digits and truncates them to the width of the field, so that
  /// `rings=65536` and `rings=four` request 0 rings; here they are errors.
  private func number<Number: FixedWidthInteger & UnsignedInteger>(
    _ key: PortOptionKey, _ values: Assignments, below limit: UInt64 = UInt64(Number.max) + 1
  ) throws(NetmapError) -> Number? {
    guard let value = values[key] else { return nil }
    let shown = PortText.printable(value)
    guard value.allSatisfy(PortText.isDigit) else {
      throw refusal(
        "key '\(key.rawValue)': got '\(shown)' while expecting a number",
        "give a decimal number without sign or unit")
    }
    guard let number = PortText.decimal(value, below: limit) else {
      throw refusal(
        "key '\(key.rawValue)': '\(shown)' out of range [0, \(limit))",
        "give a lower number")
    }
    return Number(number)
  }

  /// The word assigned to `key`, one of the cases of `Choice`; nil when there is none.
  private func choice<Choice: RawRepresentable<String> & CaseIterable>(
    _ key: PortOptionKey, _ values: Assignments
  ) throws(NetmapError) -> Choice? {
    guard let value = values[key] else { return nil }
    guard let choice = Choice(rawValue: String(decoding: value, as: UTF8.self)) else {
      let choices = Choice.allCases.map(\.rawValue).joined(separator: ", ")
      throw refusal(
        "key '\(key.rawValue)': unknown value '\(PortText.printable(value))'",
        "choose one of \(choices)")
    }
    return choice
  }
}
