import CLinux
import Glibc
import NetmapRequests
import Testing

/// Three pages: one that can be written, one that can be read, and one without access.
@safe
private final class Pages {
  let start: UnsafeMutableRawPointer
  let page = Int(sysconf(Int32(_SC_PAGESIZE)))

  init() throws {
    let mapped = unsafe mmap(
      nil, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    unsafe start = try #require(mapped)
    unsafe #expect(start != MAP_FAILED)
    for offset in 0..<2 * page {
      unsafe start.storeBytes(
        of: UInt8(truncatingIfNeeded: offset &* 7), toByteOffset: offset, as: UInt8.self)
    }
    unsafe #expect(mprotect(start + page, page, PROT_READ) == 0)
    unsafe #expect(mprotect(start + 2 * page, page, PROT_NONE) == 0)
  }

  deinit { unsafe munmap(start, 3 * page) }

  func address(_ offset: Int) -> UInt64 { UInt64(UInt(bitPattern: unsafe start)) + UInt64(offset) }
  subscript(offset: Int) -> UInt8 { unsafe start.load(fromByteOffset: offset, as: UInt8.self) }
}

private func copyIn(_ memory: ProcessMemory, _ address: UInt64, _ count: Int) -> [UInt8]? {
  var bytes = [UInt8](repeating: 0, count: count)
  var span = bytes.mutableSpan
  return memory.copyIn(from: address, into: &span) ? bytes : nil
}

private func copyOut(_ memory: ProcessMemory, _ bytes: [UInt8], _ address: UInt64) -> Bool {
  memory.copyOut(bytes.span, to: address)
}

/// The two ways of copying do the same.
@Suite("The calling process's memory")
struct ProcessMemoryTests {
  static let paths: [ProcessMemory.Path] = [.direct, .pipe]

  @Test("bytes that can be read are copied, across pages and in long pieces", arguments: paths)
  func reads(path: ProcessMemory.Path) throws {
    let (pages, memory) = (try Pages(), ProcessMemory(path: path))
    for (offset, count) in [
      (0, 1), (pages.page - 3, 7), (1, 2 * pages.page - 1), (0, 2 * pages.page),
    ] {
      let bytes = try #require(copyIn(memory, pages.address(offset), count))
      #expect(bytes == (0..<count).map { pages[offset + $0] })
    }
  }

  @Test("bytes that can be written are written", arguments: paths)
  func writes(path: ProcessMemory.Path) throws {
    let (pages, memory) = (try Pages(), ProcessMemory(path: path))
    #expect(copyOut(memory, [1, 2, 3], pages.address(pages.page - 3)))
    #expect([pages[pages.page - 3], pages[pages.page - 2], pages[pages.page - 1]] == [1, 2, 3])
    #expect(copyOut(memory, [UInt8](repeating: 9, count: pages.page), pages.address(0)))
    #expect((0..<pages.page).allSatisfy { pages[$0] == 9 })
  }

  @Test("memory that cannot be read is no crash", arguments: paths)
  func unreadable(path: ProcessMemory.Path) throws {
    let (pages, memory) = (try Pages(), ProcessMemory(path: path))
    let wild: [UInt64] = [
      0, 1, 0x10, 0x800, pages.address(2 * pages.page), pages.address(2 * pages.page - 87),
      0x7fff_ffff_f000, 0x8000_0000_0000, 0xdead_beef_dead_beef, 0xffff_ffff_ffff_ffff,
      0xffff_ffff_ffff_ffa8, 0xffff_8000_0000_0000,
    ]
    for address in wild { #expect(copyIn(memory, address, 88) == nil, "address \(address)") }
  }

  @Test("memory that cannot be written is no crash, and stays", arguments: paths)
  func unwritable(path: ProcessMemory.Path) throws {
    let (pages, memory) = (try Pages(), ProcessMemory(path: path))
    let before = pages[pages.page]
    for address in [
      0, 0x10, pages.address(pages.page), pages.address(2 * pages.page), 0xffff_ffff_ffff_fff0,
    ] {
      #expect(!copyOut(memory, [UInt8](repeating: 0xee, count: 88), address), "address \(address)")
    }
    #expect(pages[pages.page] == before)
  }

  // In processes of their own, because other tests map memory and open files at the same time.

  @Test("memory that was unmapped is no crash", arguments: [true, false])
  func unmapped(isDirect: Bool) async {
    await #expect(processExitsWith: .exitCode(42)) { [isDirect] in
      let memory = ProcessMemory(path: isDirect ? .direct : .pipe)
      let page = Int(sysconf(Int32(_SC_PAGESIZE)))
      let mapped = unsafe mmap(
        nil, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
      let address = UInt64(UInt(bitPattern: mapped))
      guard copyIn(memory, address, 8) != nil else { exit(1) }
      unsafe munmap(mapped, page)
      guard copyIn(memory, address, 8) == nil, !copyOut(memory, [1], address) else { exit(2) }
      exit(42)
    }
  }

  @Test("copies through a pipe leave no descriptor behind")
  func descriptors() async {
    await #expect(processExitsWith: .exitCode(42)) {
      let (pages, memory) = (try Pages(), ProcessMemory(path: .pipe))
      // The test runner uses descriptors of this process as well, but not hundreds.
      let before = dup(2)
      close(before)
      for _ in 0..<100 {
        for address in [pages.address(0), pages.address(2 * pages.page), 0] {
          _ = copyIn(memory, address, 88)
          _ = copyOut(memory, [1], address)
        }
      }
      guard before >= 0, dup(2) < before + 100 else { exit(1) }
      exit(42)
    }
  }

  @Test("a request in the process's memory is served, and wild addresses in it give EFAULT")
  func request() throws {
    let pages = try Pages()
    let server = RecordingServer()
    let layer = RequestLayer(memory: ProcessMemory(), server: server)
    // NIOCCTRL, VALE_DELIF.
    let header: [UInt8] = [14, 0, 9, 0] + [UInt8](repeating: 0, count: 4) + Array("v0".utf8)
    #expect(copyOut(ProcessMemory(), header + [UInt8](repeating: 0, count: 78), pages.address(0)))
    #expect(layer.perform(0xc058_6997, pages.address(0)) == nil)
    #expect(server.name?.description == "v0")
    // An option in the page without access.
    let bad = pages.address(2 * pages.page)
    #expect(
      copyOut(
        ProcessMemory(), (0..<8).map { UInt8(truncatingIfNeeded: bad >> (8 * $0)) },
        pages.address(72)))
    #expect(layer.perform(0xc058_6997, pages.address(0)) == .badAddress)
    #expect(layer.perform(0xc058_6997, bad) == .badAddress)
    #expect(layer.perform(0xc058_6997, 0x10) == .badAddress)
    // The page can be read, and not be written.
    #expect(layer.perform(0xc058_6997, pages.address(pages.page)) == .badAddress)
  }

  @Test(
    "where a sandbox refuses the direct calls, a pipe carries the bytes",
    arguments: [EPERM, ENOSYS])
  func sandbox(code: Int32) async {
    await #expect(processExitsWith: .exitCode(42)) { [code] in
      refuseDirectCopies(with: code)
      let (pages, memory) = (try Pages(), ProcessMemory())
      var byte: UInt8 = 0
      // The filter works.
      let direct = unsafe clinux_copy_from_self(&byte, pages.address(0), 1)
      guard direct == -1, errno == code else { exit(1) }
      guard copyIn(memory, pages.address(1), 3) == [7, 14, 21] else { exit(2) }
      guard copyIn(memory, pages.address(2 * pages.page), 3) == nil else { exit(3) }
      guard copyOut(memory, [5], pages.address(0)), pages[0] == 5 else { exit(4) }
      guard !copyOut(memory, [5], 0) else { exit(5) }
      exit(42)
    }
  }
}

/// Has the kernel refuse `process_vm_readv` and `process_vm_writev` in this process.
private func refuseDirectCopies(with code: Int32) {
  func jump(_ call: Int, then: UInt8, otherwise: UInt8) -> sock_filter {
    sock_filter(
      code: UInt16(BPF_JMP | BPF_JEQ | BPF_K), jt: then, jf: otherwise, k: UInt32(call))
  }
  var filter = [
    sock_filter(code: UInt16(BPF_LD | BPF_W | BPF_ABS), jt: 0, jf: 0, k: 0),
    jump(Int(CLINUX_CALL_process_vm_readv), then: 1, otherwise: 0),
    jump(Int(CLINUX_CALL_process_vm_writev), then: 0, otherwise: 1),
    sock_filter(code: UInt16(BPF_RET | BPF_K), jt: 0, jf: 0, k: 0x0005_0000 | UInt32(code)),
    sock_filter(code: UInt16(BPF_RET | BPF_K), jt: 0, jf: 0, k: 0x7fff_0000),
  ]
  _ = clinux_no_new_privileges()
  let result = unsafe filter.withUnsafeMutableBufferPointer { buffer in
    var program = unsafe sock_fprog(len: UInt16(buffer.count), filter: buffer.baseAddress)
    return unsafe clinux_seccomp(&program)
  }
  guard result == 0 else { exit(9) }
}
