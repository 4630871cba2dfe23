internal import CLinux
internal import Glibc
internal import NetmapCore

/// ioctl(2) requests about one interface; see netdevice(7).
struct InterfaceRequest: ~Copyable {
  private let socket: CInt
  private let name: String

  init(_ name: String) throws(NetmapError) {
    // Any socket will do; this family needs no privilege.
    socket = Glibc.socket(AF_INET, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    guard socket >= 0 else {
      throw systemError("socket", name, remedy: "raise the limit of open files (ulimit -n)")
    }
    self.name = name
  }

  deinit { close(socket) }

  /// The cookie of the socket's network namespace, which no other namespace ever has. Linux before 5.14 has no such
  /// cookies: then the inode number of the calling thread's namespace.
  var namespace: UInt64 {
    var cookie: UInt64 = 0
    var size = socklen_t(MemoryLayout<UInt64>.size)
    if unsafe getsockopt(socket, SOL_SOCKET, CInt(CLINUX_SO_NETNS_COOKIE), &cookie, &size) == 0 {
      return cookie
    }
    var status = stat()
    return unsafe stat("/proc/thread-self/ns/net", &status) == 0 ? UInt64(status.st_ino) : 0
  }

  private func block() -> [UInt8] {
    var block = [UInt8](repeating: 0, count: CLINUX_IFREQ_SIZE)
    for (index, byte) in name.utf8.enumerated() { block[index] = byte }
    return block
  }

  func value<T: FixedWidthInteger & BitwiseCopyable>(
    _ request: UInt, _ label: StaticString, as type: T.Type
  ) throws(NetmapError) -> T {
    var block = block()
    let result = unsafe block.withUnsafeMutableBytes { bytes in
      unsafe clinux_ioctl(socket, request, bytes.baseAddress)
    }
    guard result == 0 else { throw systemError("ioctl", "\(name) (\(label))") }
    return unsafe block.withUnsafeBytes {
      unsafe $0.loadUnaligned(fromByteOffset: CLINUX_IFREQ_VALUE_OFFSET, as: T.self)
    }
  }

  /// The queues that `ethtool -l` shows; nil when the driver does not report them.
  var queues: (receive: Int, transmit: Int)? {
    var channels = ethtool_channels()
    channels.cmd = UInt32(ETHTOOL_GCHANNELS)
    guard asks(&channels) else { return nil }
    let receive = Int(channels.rx_count) + Int(channels.combined_count)
    let transmit = Int(channels.tx_count) + Int(channels.combined_count)
    return receive > 0 && transmit > 0 ? (receive, transmit) : nil
  }

  /// Whether the kernel leaves checksums to the interface (`ethtool -k`: tx-checksumming); nil when the driver does
  /// not say.
  var leavesChecksums: Bool? {
    var value = ethtool_value(cmd: UInt32(ETHTOOL_GTXCSUM), data: 0)
    return asks(&value) ? value.data != 0 : nil
  }

  /// Whether the kernel leaves VLAN tags to the interface (`ethtool -k`: tx-vlan-offload); nil when the driver does
  /// not say.
  var leavesTags: Bool? {
    var value = ethtool_value(cmd: UInt32(ETHTOOL_GFLAGS), data: 0)
    return asks(&value) ? value.data & UInt32(CLINUX_ETH_FLAG_TXVLAN) != 0 : nil
  }

  /// Passes a command of <linux/ethtool.h>, which the kernel completes.
  ///
  /// - Returns: Whether the driver knows the command.
  private func asks<T: BitwiseCopyable>(_ command: inout T) -> Bool {
    var block = block()
    return unsafe withUnsafeMutablePointer(to: &command) { command in
      unsafe block.withUnsafeMutableBytes { bytes in
        unsafe bytes.storeBytes(
          of: UInt(bitPattern: command), toByteOffset: CLINUX_IFREQ_VALUE_OFFSET, as: UInt.self)
        return unsafe clinux_ioctl(socket, CLINUX_SIOCETHTOOL, bytes.baseAddress) == 0
      }
    }
  }
}
