internal import Glibc

/// Formats numbers as printf(3) does, for output that scripts compare byte by byte.
package enum TextFormat {
  /// `%.<decimals>f`
  package static func fixed(_ value: Double, _ decimals: Int) -> String {
    // The longest double has 309 digits before the decimal point.
    var buffer = [UInt8](repeating: 0, count: 512)
    let length = unsafe buffer.withUnsafeMutableBytes { bytes in
      unsafe withVaList([CInt(decimals), value]) { arguments in
        unsafe vsnprintf(
          bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count, "%.*f", arguments)
      }
    }
    return String(decoding: buffer.prefix(max(0, Int(length))), as: UTF8.self)
  }

  /// `%<width>d`: padded with spaces.
  package static func padded(_ value: some BinaryInteger, _ width: Int) -> String {
    String(value).right(width)
  }

  /// `%0<width>d`: padded with zeros; for numbers that are not negative.
  package static func zeroPadded(_ value: some BinaryInteger, _ width: Int) -> String {
    String(value).right(width, filler: "0")
  }

  /// `%0<width>x`
  package static func hexadecimal(_ value: some BinaryInteger, _ width: Int) -> String {
    String(value, radix: 16).right(width, filler: "0")
  }
}

extension String {
  /// The text with fillers on its left, at least `width` characters.
  package func right(_ width: Int, filler: Character = " ") -> String {
    String(repeating: filler, count: max(0, width - count)) + self
  }

  /// The text with spaces on its right, at least `width` characters.
  package func left(_ width: Int) -> String {
    self + String(repeating: " ", count: max(0, width - count))
  }
}
