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

  // MARK: - Offloads

  /// Turns off every offload of sent packets that can be turned off, except scatter-gather: the kernel then finishes
  /// checksums, segments packets and writes VLAN tags before it hands them to the driver.
  ///
  /// The calling thread must be in the interface's network namespace.
  ///
  /// - Throws: ``NetmapError`` with the error of ethtool's ioctl(2) requests.
  func disableTransmitOffloads() throws(NetmapError) {
    let features = try features()
    var wanted = [UInt32](repeating: 0, count: (features.count + 31) / 32)
    for (place, feature) in features.enumerated() where feature.isChangeable {
      guard feature.name.hasPrefix("tx-"), !feature.name.hasPrefix("tx-scatter-gather"),
        feature.name != "tx-nocache-copy"
      else { continue }
      wanted[place / 32] |= 1 << UInt32(place % 32)
    }
    // struct ethtool_sfeatures, followed by blocks of the features to change and their new values.
    var change = Self.words(UInt32(ETHTOOL_SFEATURES), UInt32(wanted.count))
    for block in wanted { change += Self.words(block, 0) }
    try ask(&change, "ETHTOOL_SFEATURES")
  }

  /// The features that `ethtool -k` shows, in the kernel's order.
  ///
  /// - Throws: ``NetmapError`` with the error of ethtool's ioctl(2) requests.
  func features() throws(NetmapError) -> [InterfaceFeature] {
    // struct ethtool_sset_info: command, reserved, the mask of sets, and the size of the set.
    var sizes = Self.words(
      UInt32(ETHTOOL_GSSET_INFO), 0, 1 << UInt32(ETH_SS_FEATURES.rawValue), 0, 0)
    try ask(&sizes, "ETHTOOL_GSSET_INFO")
    let count = Int(sizes[16...].number() as UInt32)
    let blocks = (count + 31) / 32
    // struct ethtool_gstrings, followed by the names.
    let nameSize = Int(ETH_GSTRING_LEN)
    var names = Self.words(
      UInt32(ETHTOOL_GSTRINGS), UInt32(ETH_SS_FEATURES.rawValue), UInt32(count))
    names += [UInt8](repeating: 0, count: count * nameSize)
    try ask(&names, "ETHTOOL_GSTRINGS")
    // struct ethtool_gfeatures, followed by blocks of available, requested, active and unchangeable features.
    var bits = Self.words(UInt32(ETHTOOL_GFEATURES), UInt32(blocks))
    bits += [UInt8](repeating: 0, count: blocks * 16)
    try ask(&bits, "ETHTOOL_GFEATURES")
    return (0..<count).map { feature in
      let text = names[(12 + feature * nameSize)...].prefix(nameSize).prefix { $0 != 0 }
      let block = 8 + feature / 32 * 16
      func isSet(_ word: Int) -> Bool {
        let value: UInt32 = bits[(block + 4 * word)...].number()
        return value >> UInt32(feature % 32) & 1 == 1
      }
      return InterfaceFeature(
        name: String(decoding: text, as: UTF8.self), isChangeable: isSet(0), isActive: isSet(2))
    }
  }

  /// The name of the driver, as `ethtool -i` shows it; nil when there is none.
  var driver: String? {
    // struct ethtool_drvinfo: command, driver, and other texts.
    var bytes = Self.words(UInt32(ETHTOOL_GDRVINFO)) + [UInt8](repeating: 0, count: 192)
    do throws(NetmapError) {
      try ask(&bytes, "ETHTOOL_GDRVINFO")
    } catch {
      return nil
    }
    return String(decoding: bytes[4..<36].prefix { $0 != 0 }, as: UTF8.self)
  }

  private static func words(_ values: UInt32...) -> [UInt8] {
    values.flatMap { value in unsafe withUnsafeBytes(of: value) { unsafe Array($0) } }
  }

  private func ask(_ command: inout [UInt8], _ label: StaticString) throws(NetmapError) {
    var block = block()
    let result = unsafe command.withUnsafeMutableBytes { command in
      unsafe block.withUnsafeMutableBytes { bytes in
        unsafe bytes.storeBytes(
          of: UInt(bitPattern: command.baseAddress), toByteOffset: CLINUX_IFREQ_VALUE_OFFSET,
          as: UInt.self)
        return unsafe clinux_ioctl(socket, CLINUX_SIOCETHTOOL, bytes.baseAddress)
      }
    }
    guard result >= 0 else { throw systemError("ioctl", "\(name) (\(label))") }
  }
}

/// A feature of an interface, by the name that `ethtool -k` has for it.
struct InterfaceFeature: Sendable {
  let name: String
  let isChangeable: Bool
  let isActive: Bool
}
