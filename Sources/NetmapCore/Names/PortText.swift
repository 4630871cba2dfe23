/// The alphabet of port names: bytes, not characters, and ASCII independent of the locale.
///
/// Bytes of 0x80 and above have no meaning here and stay in names unchanged, because the kernel
/// does not define the encoding of interface names.
enum PortText {
  static let quote = UInt8(ascii: "'")
  static let masterBracket = UInt8(ascii: "{")
  static let slaveBracket = UInt8(ascii: "}")
  /// The flag of a port specification that asks for an isolated port.
  static let isolatedLetter = UInt8(ascii: "i")

  static func isDigit(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
  }

  /// Whether `byte` may appear in an identifier: a letter, a digit or `_`.
  static func isIdentifierByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
    case UInt8(ascii: "_"): true
    default: isDigit(byte)
    }
  }

  static func isBracket(_ byte: UInt8) -> Bool {
    byte == masterBracket || byte == slaveBracket
  }

  /// Whether `byte` starts the mode of a port specification, and so ends its name.
  static func isModeByte(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: "-") || isModeByteOtherThanDash(byte)
  }

  /// Like ``isModeByte(_:)``, but false for `-`, which interface names often contain.
  static func isModeByteOtherThanDash(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "*"), UInt8(ascii: "^"), UInt8(ascii: "/"), UInt8(ascii: "@"): true
    default: false
    }
  }

  /// The end of the switch prefix `vale<id>:` in `name`; nil when the name has none.
  static func endOfSwitchPrefix(_ name: [UInt8]) -> Int? {
    guard name.starts(with: "vale".utf8), let colon = name.firstIndex(of: UInt8(ascii: ":"))
    else { return nil }
    return name[4..<colon].allSatisfy(isIdentifierByte) ? colon + 1 : nil
  }

  /// The value of a run of decimal digits; nil when the run is empty, contains another byte, or is
  /// not below `limit`.
  static func decimal(_ digits: some Sequence<UInt8>, below limit: UInt64) -> UInt64? {
    var value: UInt64?
    for byte in digits {
      guard isDigit(byte) else { return nil }
      let (tenfold, overflowed) = (value ?? 0).multipliedReportingOverflow(by: 10)
      let (sum, carried) = tenfold.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
      if overflowed || carried { return nil }
      value = sum
    }
    guard let value, value < limit else { return nil }
    return value
  }

  /// `bytes` as text for a one-line message; control characters for a terminal or log are escaped.
  static func printable(_ bytes: some Collection<UInt8>) -> String {
    var text = ""
    for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
      switch scalar.value {
      case 0..<0x20, 0x7f..<0xa0, 0x2028, 0x2029:
        text += "\\u{\(String(scalar.value, radix: 16))}"
      default:
        text.unicodeScalars.append(scalar)
      }
    }
    return text
  }
}
