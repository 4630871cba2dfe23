/// Writes and sums frames of any length, eight bytes at a time.
enum FrameBytes {
  /// Writes a frame from an offset to its end; the last bytes too when they fill no word.
  ///
  /// - Parameters:
  ///   - sequence: The value of the first word; each further word is one more.
  ///   - bytes: The frame.
  ///   - offset: Bytes at the beginning that stay as they are; at most the frame's length.
  @inline(__always)
  static func write(_ sequence: UInt64, to bytes: inout MutableRawSpan, from offset: Int) {
    unsafe bytes.withUnsafeMutableBytes { frame in
      let words = (frame.count &- offset) / 8
      for word in 0..<words {
        unsafe frame.storeBytes(
          of: sequence &+ UInt64(truncatingIfNeeded: word), toByteOffset: offset &+ word &* 8,
          as: UInt64.self)
      }
      for byte in (offset &+ words &* 8)..<frame.count {
        unsafe frame[byte] = UInt8(truncatingIfNeeded: sequence)
      }
    }
  }

  /// The sum of the words of a frame, and of the bytes that fill no word.
  @inline(__always)
  static func sum(_ bytes: RawSpan) -> UInt64 {
    unsafe bytes.withUnsafeBytes { frame in
      let words = frame.count / 8
      var sum: UInt64 = 0
      for word in 0..<words {
        sum &+= unsafe frame.loadUnaligned(fromByteOffset: word &* 8, as: UInt64.self)
      }
      for byte in (words &* 8)..<frame.count { sum &+= UInt64(unsafe frame[byte]) }
      return sum
    }
  }
}
