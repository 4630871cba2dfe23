// Tunables as text: the argument of `netmapd --set`, and lines of configuration files.

extension Tunable {
  /// The tunable of that name.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` when there is none.
  package static func named(_ name: String) throws(NetmapError) -> Tunable {
    guard let tunable = Tunable(rawValue: name) else {
      throw NetmapError(
        .invalidArgument, "set", shown(name), reason: "there is no tunable of that name",
        remedy: "'netmap config' lists all names")
    }
    return tunable
  }

  /// Reads `NAME=VALUE`. Values are decimal, or hexadecimal after `0x`; blanks around both are ignored.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` for any other text.
  package static func assignment(
    _ text: String
  ) throws(NetmapError) -> (tunable: Tunable, value: Int) {
    let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2 else {
      throw NetmapError(
        .invalidArgument, "read", shown(text), reason: "it has no '='", remedy: "write NAME=VALUE")
    }
    let (name, number) = (trimmed(parts[0]), trimmed(parts[1]))
    let tunable = try named(name)
    guard let value = value(of: number) else {
      throw NetmapError(
        .invalidArgument, "set", name, reason: "'\(shown(number))' is not a number",
        remedy: "write a decimal number; the default is \(tunable.rule.standard)")
    }
    return (tunable, value)
  }

  private static func value(of text: String) -> Int? {
    text.hasPrefix("0x") ? Int(text.dropFirst(2), radix: 16) : Int(text)
  }

  fileprivate static func trimmed(_ text: Substring) -> String {
    var text = text
    while let last = text.last, last == " " || last == "\t" || last == "\r" { text.removeLast() }
    return String(text.drop { $0 == " " || $0 == "\t" })
  }

  /// Text of a user for a message: on one line, without control characters, and not too long.
  private static func shown(_ text: String) -> String {
    let scalars = text.unicodeScalars.prefix(64).map { scalar -> Character in
      scalar.value < 0x20 || (0x7f..<0xa0).contains(scalar.value) ? "?" : Character(scalar)
    }
    return String(scalars) + (text.unicodeScalars.count > 64 ? "..." : "")
  }
}

extension Tunables {
  /// The values that are not defaults, as `NAME=VALUE@ORIGIN`, by name.
  package var assignments: [String] {
    Tunable.allCases.compactMap { tunable in
      given(tunable).map { "\(tunable.name)=\($0)@\(origin(of: tunable))" }
    }
  }

  /// Reads ``assignments``.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` for any other text.
  package init(assignments: [String]) throws(NetmapError) {
    for text in assignments {
      let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
      let (tunable, value) = try Tunable.assignment(String(parts[0]))
      try set(tunable, to: value, by: parts.count == 2 ? String(parts[1]) : "another process")
    }
  }

  /// Sets what a configuration file says.
  ///
  /// A line is `NAME = VALUE`, or a comment that begins with `#`, or empty. A comment may follow a value. A name may
  /// occur once.
  ///
  /// - Parameters:
  ///   - file: The bytes of the file.
  ///   - path: Its path, for messages and as the values' origin.
  /// - Throws: ``NetmapError`` that names the file, the line, the reason and the remedy.
  package mutating func set(file: some Sequence<UInt8>, path: String) throws(NetmapError) {
    var seen: [Tunable: Int] = [:]
    let lines = Array(file).split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    for (index, bytes) in lines.enumerated() {
      let content = bytes.prefix { $0 != UInt8(ascii: "#") }
      let text = Tunable.trimmed(Substring(String(decoding: content, as: UTF8.self)))
      guard !text.isEmpty else { continue }
      let place = "\(path):\(index + 1)"
      do throws(NetmapError) {
        let (tunable, value) = try Tunable.assignment(text)
        if let first = seen.updateValue(index + 1, forKey: tunable) {
          throw NetmapError(
            .invalidArgument, "set", tunable.name, reason: "line \(first) has set it already",
            remedy: "remove one of the two lines")
        }
        try set(tunable, to: value, by: place)
      } catch {
        throw NetmapError(
          error.code, "read", place, reason: "\(error.subject): \(error.reason)",
          remedy: error.remedy)
      }
    }
  }
}
