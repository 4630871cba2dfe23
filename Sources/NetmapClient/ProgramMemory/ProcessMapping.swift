internal import CLinux
internal import Glibc
package import NetmapCore

/// A mapping of a process: a line of `/proc/PID/maps`, see proc_pid_maps(5).
package struct ProcessMapping: Hashable, Sendable {
  /// Addresses from the first byte to the one after the last.
  package let addresses: Range<UInt64>
  package let isReadable: Bool
  package let isWritable: Bool
  package let isShared: Bool
  /// Where the mapping begins in its file, bytes.
  package let offset: UInt64
  /// The device, as `st_dev` of stat(2) has it.
  package let device: UInt64
  /// The inode number; 0 for memory without a file.
  package let file: UInt64
  /// The name of the file or of the kind of memory; may be empty, or end with " (deleted)".
  package let path: String

  /// Reads a line; nil for one of another form.
  package init?(line: Substring) {
    let words = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
    guard words.count >= 5, words[1].utf8.count == 4,
      let dash = words[0].firstIndex(of: "-"),
      let start = UInt64(words[0][..<dash], radix: 16),
      let end = UInt64(words[0][words[0].index(after: dash)...], radix: 16), start <= end,
      let offset = UInt64(words[2], radix: 16),
      let colon = words[3].firstIndex(of: ":"),
      let major = UInt32(words[3][..<colon], radix: 16),
      let minor = UInt32(words[3][words[3].index(after: colon)...], radix: 16),
      let file = UInt64(words[4])
    else { return nil }
    let rights = Array(words[1].utf8)
    addresses = start..<end
    isReadable = rights[0] == UInt8(ascii: "r")
    isWritable = rights[1] == UInt8(ascii: "w")
    isShared = rights[3] == UInt8(ascii: "s")
    self.offset = offset
    device = clinux_device(major, minor)
    self.file = file
    path = words.count > 5 ? String(words[5].drop { $0 == " " }) : ""
  }

  /// The mappings of this process that have an address in a range, in order.
  ///
  /// - Throws: ``NetmapError`` with the `errno` of open(2) or read(2) where `/proc` cannot be read.
  package static func all(in addresses: Range<UInt64>) throws(NetmapError) -> [ProcessMapping] {
    let path = "/proc/self/maps"
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else {
      throw systemError("open", path, remedy: "mount proc(5) where the program runs")
    }
    defer { close(file) }
    var result: [ProcessMapping] = []
    var rest: [UInt8] = []
    let blockSize = 65_536
    var block = [UInt8](repeating: 0, count: blockSize)
    while true {
      let count = unsafe read(file, &block, blockSize)
      guard count >= 0 else {
        if errno == EINTR { continue }
        throw systemError("read", path)
      }
      guard count > 0 else { return result }
      rest += block[..<count]
      guard let last = rest.lastIndex(of: UInt8(ascii: "\n")) else { continue }
      for line in String(decoding: rest[..<last], as: UTF8.self).split(separator: "\n") {
        guard let mapping = ProcessMapping(line: line) else { continue }
        if mapping.addresses.lowerBound >= addresses.upperBound { return result }
        if mapping.addresses.overlaps(addresses) { result.append(mapping) }
      }
      rest.removeSubrange(...last)
    }
  }
}

extension ProcessMapping {
  private static let deletion = " (deleted)"

  /// Whether this is ordinary memory or an ordinary file, whose pages another mapping may replace.
  ///
  /// Not so the memory of devices, of sockets and other kernel objects, and of the kernel.
  var isOrdinary: Bool {
    guard isReadable, isWritable else { return false }
    if path.isEmpty || path == "[heap]" || path.hasPrefix("[anon") { return true }
    guard path.hasPrefix("/") else { return false }
    guard path.hasPrefix("/dev/"), !path.hasPrefix("/dev/zero") else { return true }
    var status = clinux_file()
    return unsafe clinux_examine_file(path, &status) != 0 || status.is_character_device == 0
  }

  /// When the file was created, as ``ProgramMemory/Origin`` has it; nil where a later file might have the same inode
  /// number, so that the number alone does not identify the file.
  var birth: UInt64? {
    guard isShared, file != 0 else { return nil }
    if path.hasSuffix(Self.deletion) {
      // memfd_create(2), shared memory without a file, and shmget(2): one file system of the kernel, which counts.
      let kinds = ["/memfd:", "/dev/zero", "/SYSV"]
      return kinds.contains(where: path.hasPrefix) ? 0 : nil
    }
    var status = clinux_file()
    guard unsafe clinux_examine_file(path, &status) == 0, status.inode == file else { return nil }
    if status.counts_inodes != 0 { return 0 }
    return status.birth == 0 ? nil : status.birth
  }
}
