internal import CLinux
internal import Glibc
package import NetmapCore

/// The pages that a C program gives for a region (`NETMAP_REQ_OPT_EXTMEM`).
///
/// No process can hold on to pages of another one as the kernel module does. So the pages of the region, which netmapd
/// makes, take the place of the program's.
package struct ProgramRange: Sendable {
  /// The first address; a page begins there.
  package let address: UInt64
  /// The size as the program gave it, bytes.
  private let askedByteCount: Int
  /// The size in whole pages, bytes.
  package let byteCount: Int
  /// What the pages are now; nil if no other process can name the same pages.
  package let origin: ProgramMemory.Origin?

  /// Looks at the pages.
  ///
  /// - Parameters:
  ///   - address: Any number.
  ///   - byteCount: Any number.
  /// - Throws: ``NetmapError`` `EINVAL` for an address inside a page, and for the stack of the calling thread; `ENOMEM`
  ///   for 0 bytes, or for more than a region may have; `EFAULT` for pages that are not there, cannot be written, or
  ///   belong to a device or to the kernel.
  package init(at address: UInt64, byteCount: UInt64) throws(NetmapError) {
    let subject = "\(byteCount) bytes at 0x\(String(address, radix: 16))"
    func refusal(
      _ code: NetmapError.Code, _ reason: String, _ remedy: String
    ) -> NetmapError {
      NetmapError(code, "use", "memory of the program, \(subject)", reason: reason, remedy: remedy)
    }
    let unit = UInt64(pageSize)
    guard address % unit == 0 else {
      throw refusal(
        .invalidArgument, "it does not begin with a page of \(unit) bytes",
        "take memory from mmap, or from posix_memalign with this alignment")
    }
    guard byteCount > 0, byteCount <= UInt64(ProgramMemory.byteLimit) else {
      throw refusal(
        .outOfMemory, "a region has 1 to \(ProgramMemory.byteLimit) bytes", "give another size")
    }
    let rounded = (byteCount + unit - 1) / unit * unit
    guard address <= UInt64.max - rounded else {
      throw refusal(.badAddress, "it ends beyond the last address", "give another address")
    }
    let addresses = address..<address + rounded
    let mappings = try ProcessMapping.all(in: addresses)
    var next = address
    for mapping in mappings {
      guard mapping.addresses.lowerBound <= next, mapping.isOrdinary else { break }
      next = mapping.addresses.upperBound
    }
    guard next >= addresses.upperBound else {
      throw refusal(
        .badAddress,
        "the page at 0x\(String(next, radix: 16)) is not mapped, cannot be written, or is not ordinary"
          + " memory", "give memory from mmap that can be read and written")
    }
    guard !Self.holdsStack(addresses) else {
      throw refusal(
        .invalidArgument, "the stack of the calling thread is in it", "give memory from mmap")
    }
    self.address = address
    askedByteCount = Int(byteCount)
    self.byteCount = Int(rounded)
    origin = Self.origin(of: addresses, in: mappings)
  }

  private static func holdsStack(_ addresses: Range<UInt64>) -> Bool {
    var first: UInt64 = 0
    var end: UInt64 = 0
    unsafe clinux_find_stack(&first, &end)
    return first < end && addresses.overlaps(first..<end)
  }

  /// The place in one file that all of the pages are; nil if there is none.
  private static func origin(
    of addresses: Range<UInt64>, in mappings: [ProcessMapping]
  ) -> ProgramMemory.Origin? {
    guard let first = mappings.first, let birth = first.birth else { return nil }
    // A mapping has several lines where parts of it had other rights for a while.
    let start = first.offset &+ (addresses.lowerBound &- first.addresses.lowerBound)
    let isOne = mappings.allSatisfy {
      $0.isShared && $0.file == first.file && $0.device == first.device
        && $0.offset &- first.offset == $0.addresses.lowerBound &- first.addresses.lowerBound
    }
    guard isOne else { return nil }
    return ProgramMemory.Origin(
      device: first.device, file: first.file, birth: birth, offset: start)
  }

  /// Puts a region in the place of the pages.
  ///
  /// The kernel exchanges the pages at one moment: another thread that uses them never finds an address without memory. What
  /// it writes to the old pages is lost. The memory then reads as zeros, but for what netmap keeps in it. Bytes that
  /// share the last page with the memory keep their value unless a buffer lies there.
  ///
  /// - Parameters:
  ///   - file: The region's memory.
  ///   - objectsEnd: Where the region's last buffer ends, bytes.
  /// - Throws: ``NetmapError`` with the `errno` of mmap(2).
  func map(_ file: CInt, objectsEnd: Int) throws(NetmapError) {
    let rest = byteCount - askedByteCount
    if rest > 0, objectsEnd <= askedByteCount {
      // The kernel copies, so memory that another thread unmaps meanwhile is an error and not a signal.
      let end = unsafe UnsafeRawPointer(bitPattern: UInt(address) + UInt(askedByteCount))
      guard unsafe pwrite(file, end, rest, off_t(askedByteCount)) == rest else {
        throw systemError("pwrite", "the page behind the memory of the program")
      }
    }
    guard
      unsafe mmap(
        UnsafeMutableRawPointer(bitPattern: UInt(address)), byteCount, PROT_READ | PROT_WRITE,
        MAP_SHARED | MAP_FIXED, file, 0) != MAP_FAILED
    else {
      throw systemError(
        "mmap", "memory of the program at 0x\(String(address, radix: 16))",
        remedy: "give whole pages, which huge pages make \(2 << 20) bytes or more")
    }
  }
}
