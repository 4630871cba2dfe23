/// What the frames of a switch port look like, as its krings say it to whoever sends to it: one word.
///
/// Bits 0...7: bytes of the virtio-net header before each frame. Bits 32...63: the longest frame that the
/// port takes when a longer packet has to be cut; 0 stands for an Ethernet frame.
struct FrameShape: Equatable {
  /// Without headers, frames of 1514 bytes: what a port has that nobody has changed.
  static let plain = FrameShape(0)
  /// The longest frame of a port that has never had headers, bytes.
  static let usualLimit = 1514

  let rawValue: UInt64

  @inline(__always)
  init(_ rawValue: UInt64) {
    self.rawValue = rawValue
  }

  /// - Parameters:
  ///   - headerLength: 0, 10 or 12.
  ///   - frameLimit: Bytes, headers of the network included.
  init(headerLength: Int, frameLimit: Int) {
    rawValue = UInt64(headerLength) | UInt64(frameLimit == Self.usualLimit ? 0 : frameLimit) << 32
  }

  /// 0, 10 or 12; anything else in shared memory is taken for 0.
  @inline(__always)
  var headerLength: UInt8 {
    let length = UInt8(truncatingIfNeeded: rawValue)
    return length == 0 || VirtioHeader.isLength(Int(length)) ? length : 0
  }

  /// Bytes, at least those of an Ethernet frame.
  var frameLimit: Int { max(Self.usualLimit, min(Int(rawValue >> 32), 65_536)) }
}

extension EnginePort {
  /// Has the rings of a switch port say what frames it has, and whether its senders wait for room.
  func publishSwitchState() {
    guard ringKind == .bridge else { return }
    for direction in Direction.allCases {
      for index in 0..<geometry.rings(direction) {
        unsafe describe(kring(direction, index), direction)
      }
    }
    if let member = membership {
      unsafe member.bridge.segment.view.setHolding(holdsSenders, of: member.index)
    }
  }

  /// The same for one ring, which nobody may be sending to yet.
  func describe(_ kring: KRing, _ direction: Direction) {
    unsafe kring.frameShape = FrameShape(headerLength: headerLength, frameLimit: frameLimit)
    if direction == .receive { unsafe kring.holdsSenders = holdsSenders }
  }

  /// Whether senders keep what the port has no room for.
  var holdsSenders: Bool { holdsWhileAttached || holdingBindings > 0 }
}
