/// A numbered packet between two stations of a soak.
///
/// After the Ethernet header come the sender, the target, the sender's incarnation and the number. The rest are bytes that
/// follow from these and from the length, so that each damaged byte shows.
struct SoakPacket: Hashable {
  let sender: Int
  /// ``everybody`` for a broadcast.
  let target: Int
  let incarnation: UInt64
  let number: UInt64
  let length: Int

  static let everybody = 255
  static let lengths = 60...1500
  private static let type: UInt16 = 0xb588
  private static let header = 32

  /// A station's Ethernet address, with its first byte in the lowest bits.
  static func address(_ station: Int) -> UInt64 {
    station == everybody ? 0xffff_ffff_ffff : 0x02 | UInt64(station) << 40 | 0x53 << 16
  }

  private var key: UInt64 {
    SoakRandom.mix(
      UInt64(sender) | UInt64(target) << 8 | UInt64(length) << 16 | incarnation << 32
        ^ number &* 0x9e37_79b9_7f4a_7c15)
  }

  func write(to bytes: inout MutableRawSpan) {
    let (to, from) = (Self.address(target), Self.address(sender))
    bytes.storeBytes(of: to | from << 48, toByteOffset: 0, as: UInt64.self)
    bytes.storeBytes(of: UInt32(truncatingIfNeeded: from >> 16), toByteOffset: 8, as: UInt32.self)
    bytes.storeBytes(of: Self.type, toByteOffset: 12, as: UInt16.self)
    bytes.storeBytes(of: UInt8(sender), toByteOffset: 14, as: UInt8.self)
    bytes.storeBytes(of: UInt8(target), toByteOffset: 15, as: UInt8.self)
    bytes.storeBytes(of: incarnation, toByteOffset: 16, as: UInt64.self)
    bytes.storeBytes(of: number, toByteOffset: 24, as: UInt64.self)
    let key = key
    var place = Self.header
    while place + 8 <= length {
      bytes.storeBytes(
        of: key &* UInt64(truncatingIfNeeded: place | 1), toByteOffset: place, as: UInt64.self)
      place += 8
    }
    while place < length {
      bytes.storeBytes(
        of: UInt8(truncatingIfNeeded: key >> UInt64(place & 7)), toByteOffset: place, as: UInt8.self
      )
      place += 1
    }
  }

  init(sender: Int, target: Int, incarnation: UInt64, number: UInt64, length: Int) {
    self.sender = sender
    self.target = target
    self.incarnation = incarnation
    self.number = number
    self.length = length
  }

  /// Nil for a packet that no station has sent like this.
  init?(_ bytes: RawSpan) {
    guard Self.lengths.contains(bytes.byteCount) else { return nil }
    unsafe self.init(
      sender: Int(bytes.unsafeLoad(fromByteOffset: 14, as: UInt8.self)),
      target: Int(bytes.unsafeLoad(fromByteOffset: 15, as: UInt8.self)),
      incarnation: bytes.unsafeLoadUnaligned(fromByteOffset: 16, as: UInt64.self),
      number: bytes.unsafeLoadUnaligned(fromByteOffset: 24, as: UInt64.self),
      length: bytes.byteCount)
    let (to, from) = (Self.address(target), Self.address(sender))
    guard
      unsafe bytes.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt64.self) == to | from << 48,
      unsafe bytes.unsafeLoadUnaligned(fromByteOffset: 8, as: UInt32.self)
        == UInt32(truncatingIfNeeded: from >> 16),
      unsafe bytes.unsafeLoadUnaligned(fromByteOffset: 12, as: UInt16.self) == Self.type
    else { return nil }
    let key = key
    var place = Self.header
    while place + 8 <= length {
      guard
        unsafe bytes.unsafeLoadUnaligned(fromByteOffset: place, as: UInt64.self)
          == key &* UInt64(truncatingIfNeeded: place | 1)
      else { return nil }
      place += 8
    }
    while place < length {
      guard
        unsafe bytes.unsafeLoad(fromByteOffset: place, as: UInt8.self)
          == UInt8(truncatingIfNeeded: key >> UInt64(place & 7))
      else { return nil }
      place += 1
    }
  }
}
