internal import Netmap

/// The senders and receivers in a measurement of a switch.
struct ValeShape: Hashable {
  /// Sending threads, each with its own port.
  var senders = 1
  /// Receiving ports, all of them read by one thread.
  var receivers = 1
  /// Ports on the switch, including idle ones.
  var ports = 2
  /// Whether a thread reads the receivers; otherwise the measurement counts sent packets.
  var isRead = true
  /// Whether every packet is a broadcast.
  var isBroadcast = false
  /// Whether the sender is a separate process, on netmapd's engine.
  var isTwoProcesses = false
  /// Whether one thread drives all ports in turn.
  var isOneThread = false
  /// Bytes of a packet that takes several slots; nil for packets of one slot and of the frame's
  /// length.
  var packetBytes: Int?
}

extension Measurement.Case {
  /// The shape of a case on a switch; nil for the other cases.
  var vale: ValeShape? {
    switch self {
    case .valeOneThread: ValeShape(isOneThread: true)
    case .valeTwoThreads: ValeShape()
    case .valeTwoProcesses: ValeShape(isTwoProcesses: true)
    case .valeFull: ValeShape(ports: 252)
    case .valeBroadcast: ValeShape(receivers: 8, ports: 9, isBroadcast: true)
    case .valeManyToOne: ValeShape(senders: 3, ports: 4)
    case .valeUnread: ValeShape(isRead: false, isOneThread: true)
    case .valeJumbo: ValeShape(packetBytes: 65_536)
    case .valeModule, .valeModuleEach: ValeShape(isOneThread: true)
    default: nil
    }
  }
}

/// The addresses of the stations in a measurement.
enum ValeFrame {
  /// The unicast address of a port's station, with its first byte in the lowest bits.
  static func address(_ port: Int) -> UInt64 { 0x02 | UInt64(port + 1) << 40 }
  static var broadcast: UInt64 { 0xffff_ffff_ffff }

  /// Bytes of the two addresses.
  static var addressBytes: Int { 12 }

  /// Writes the two addresses of an Ethernet header.
  static func write(
    _ target: UInt64, _ source: UInt64, to bytes: inout MutableRawSpan
  ) {
    bytes.storeBytes(of: target | source << 48, toByteOffset: 0, as: UInt64.self)
    bytes.storeBytes(of: UInt32(truncatingIfNeeded: source >> 16), toByteOffset: 8, as: UInt32.self)
  }
}
