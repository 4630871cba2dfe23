/// A number parsed as atoi(3) and strtoull(3) do: leading digits count, any text after them is ignored, and
/// text without digits is 0.
package struct LeadingNumber: Hashable, Sendable {
  /// The number, limited to the range of `Int`.
  package let value: Int
  /// Whether text followed the digits, or there was no digit.
  package let hasTrailingText: Bool

  /// - Parameter text: Spaces, a sign, digits, and any other text.
  package init(_ text: some StringProtocol) {
    var rest = text.utf8[...]
    while let byte = rest.first, byte == 0x20 || (0x09...0x0d).contains(byte) { rest.removeFirst() }
    let isNegative = rest.first == UInt8(ascii: "-")
    if isNegative || rest.first == UInt8(ascii: "+") { rest.removeFirst() }
    var magnitude = 0
    var digits = 0
    while let byte = rest.first, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) {
      let (product, tooBig) = magnitude.multipliedReportingOverflow(by: 10)
      let (sum, stillTooBig) = product.addingReportingOverflow(Int(byte - UInt8(ascii: "0")))
      magnitude = tooBig || stillTooBig ? .max : sum
      digits += 1
      rest.removeFirst()
    }
    value = isNegative ? -magnitude : magnitude
    hasTrailingText = digits == 0 || !rest.isEmpty
  }

  /// Parses a number that may end in `k` or `K` (1000), `M` (1000000) or `G` (1000000000).
  ///
  /// - Returns: The number, limited to the range of `Int`; nil when the text is not such a number.
  package static func scaled(_ text: String) -> Int? {
    let factor =
      switch text.last {
      case "k", "K": 1000
      case "M": 1_000_000
      case "G": 1_000_000_000
      default: 1
      }
    let number = LeadingNumber(factor == 1 ? text[...] : text.dropLast())
    guard !number.hasTrailingText else { return nil }
    let (product, tooBig) = number.value.multipliedReportingOverflow(by: factor)
    return tooBig ? (number.value < 0 ? .min : .max) : product
  }

  /// Parses a number as strtol(3) does with base 0: `0x` begins a hexadecimal and `0` an octal number.
  ///
  /// - Returns: Nil when text follows the number, or when there is no number, or it is negative or does not
  ///   fit.
  package static func unsigned(anyBase text: some StringProtocol) -> Int? {
    let lower = text.lowercased()
    if lower.hasPrefix("0x") { return digits(lower.dropFirst(2), radix: 16) }
    if lower.hasPrefix("0") && lower.count > 1 { return digits(lower.dropFirst(), radix: 8) }
    return digits(lower[...], radix: 10)
  }

  private static func digits(_ text: Substring, radix: Int) -> Int? {
    guard let first = text.utf8.first, first != UInt8(ascii: "-"), first != UInt8(ascii: "+") else {
      return nil
    }
    return Int(text, radix: radix)
  }
}
