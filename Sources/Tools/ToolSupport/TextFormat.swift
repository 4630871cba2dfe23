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
    leading(String(value), with: " ", width)
  }

  /// `%0<width>d`: padded with zeros; for numbers that are not negative.
  package static func zeroPadded(_ value: some BinaryInteger, _ width: Int) -> String {
    leading(String(value), with: "0", width)
  }

  /// `%0<width>x`
  package static func hexadecimal(_ value: some BinaryInteger, _ width: Int) -> String {
    leading(String(value, radix: 16), with: "0", width)
  }

  private static func leading(_ text: String, with filler: String, _ width: Int) -> String {
    text.utf8.count >= width
      ? text : String(repeating: filler, count: width - text.utf8.count) + text
  }
}
