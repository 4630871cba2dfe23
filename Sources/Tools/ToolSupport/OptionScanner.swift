/// Parses a command line by the rules of getopt(3).
///
/// Supports clusters (`-vAi NAME`), attached and separate values (`-l60`, `-l 60`), `--` as the end of options,
/// and options after operands as in GNU getopt. In addition there are long options, by their full name:
/// `--name`, `--name=value` or `--name value`.
package struct OptionScanner {
  /// One item of the command line.
  package enum Item: Hashable, Sendable {
    /// A short option, with its value if it takes one.
    case short(Character, String?)
    /// A long option, with its value if it takes one.
    case long(String, String?)
    /// A word that is not an option.
    case operand(String)
    /// An unknown option, or one whose value is missing or unexpected; the text describes it.
    case invalid(String)
  }

  private let arguments: [String]
  private let takesValue: [Character: Bool]
  private let longTakesValue: [String: Bool]
  private var position = 0
  /// The remaining letters of a cluster such as `-vA`.
  private var cluster: Substring = ""
  private var optionsEnded = false

  /// - Parameters:
  ///   - arguments: The command line without the program's name.
  ///   - short: Short options as for getopt(3): letters, with a `:` after each letter that takes a value.
  ///   - long: Names of long options, without dashes, and whether they take a value.
  package init(_ arguments: [String], short: String, long: [String: Bool] = [:]) {
    self.arguments = arguments
    longTakesValue = long
    var table: [Character: Bool] = [:]
    var last: Character?
    for letter in short {
      if letter == ":" {
        if let last { table[last] = true }
      } else {
        table[letter] = false
        last = letter
      }
    }
    takesValue = table
  }

  /// The next item; nil at the end.
  package mutating func next() -> Item? {
    if let letter = cluster.popFirst() { return short(letter) }
    guard position < arguments.count else { return nil }
    let word = arguments[position]
    position += 1
    if optionsEnded || word == "-" || !word.hasPrefix("-") { return .operand(word) }
    if word == "--" {
      optionsEnded = true
      return next()
    }
    if word.hasPrefix("--") { return long(word.dropFirst(2)) }
    cluster = word.dropFirst()
    return next()
  }

  private mutating func short(_ letter: Character) -> Item {
    guard let wantsValue = takesValue[letter] else { return .invalid("-\(letter)") }
    guard wantsValue else { return .short(letter, nil) }
    if !cluster.isEmpty {
      defer { cluster = "" }
      return .short(letter, String(cluster))
    }
    guard let value = nextWord() else { return .invalid("-\(letter), which needs a value") }
    return .short(letter, value)
  }

  private mutating func long(_ text: Substring) -> Item {
    let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    let name = String(parts[0])
    guard let wantsValue = longTakesValue[name] else { return .invalid("--\(name)") }
    guard wantsValue else {
      return parts.count == 1 ? .long(name, nil) : .invalid("--\(name), which takes no value")
    }
    if parts.count == 2 { return .long(name, String(parts[1])) }
    guard let value = nextWord() else { return .invalid("--\(name), which needs a value") }
    return .long(name, value)
  }

  private mutating func nextWord() -> String? {
    guard position < arguments.count else { return nil }
    defer { position += 1 }
    return arguments[position]
  }
}
