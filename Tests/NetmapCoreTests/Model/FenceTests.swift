import Glibc
import Testing

/// Every memory fence in the sources, and what happens without it on a processor that orders accesses weakly.
@Suite("Fences")
struct FenceTests {
  @Test("each fence prevents a fault that occurs without it", arguments: Fence.all)
  func isNeeded(fence: Fence) {
    #expect(!fence.shape.program(fence.kind).canFail(), "the fence does not suffice")
    #expect(fence.shape.program(nil).canFail(), "the fence is not needed")
  }

  @Test(
    "each fence stands in the sources, between the accesses that it orders", arguments: Fence.all)
  func stands(fence: Fence) throws {
    let lines = try Self.lines(of: "\(Self.sources)/\(fence.file)")
    let line = fence.exchange ?? "atomicMemoryFence(ordering: .\(fence.kind))"
    let wanted = [fence.after, line, fence.before]
    let found = lines.indices.dropLast(2).count { Array(lines[$0..<$0 + 3]) == wanted }
    #expect(found == 1, "\(wanted.joined(separator: " | "))")
  }

  @Test("the sources have no fences besides")
  func noOthers() throws {
    var count = 0
    for file in try Self.files(in: Self.sources) {
      count += try Self.lines(of: file).count { $0.hasPrefix("atomicMemoryFence(") }
    }
    let listed = Fence.all.count { $0.exchange == nil }
    #expect(count == listed, "each fence needs an entry in Fence.all")
  }

  /// The sources of the package; for mutants, a copy.
  private static var sources: String {
    if let folder = unsafe getenv("NETMAP_TEST_SOURCES") { return unsafe String(cString: folder) }
    let parts = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(4)
    return parts.joined(separator: "/") + "/Sources"
  }

  /// The lines of a file without spaces around them, empty lines and comments.
  private static func lines(of path: String) throws -> [String] {
    let file = unsafe try #require(fopen(path, "r"), "\(path)")
    defer { unsafe fclose(file) }
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 1 << 16)
    while case let count = unsafe fread(&part, 1, part.count, file), count > 0 {
      bytes += part.prefix(count)
    }
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n")
      .map { String($0.drop { $0 == " " }) }
      .filter { !$0.isEmpty && !$0.hasPrefix("//") }
  }

  private static func files(in folder: String) throws -> [String] {
    let list = unsafe try #require(opendir(folder), "\(folder)")
    defer { unsafe closedir(list) }
    var files: [String] = []
    while let entry = unsafe readdir(list) {
      let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name.hasSuffix(".swift") {
        files.append("\(folder)/\(name)")
      } else if unsafe entry.pointee.d_type == UInt8(DT_DIR), !name.hasPrefix(".") {
        files += try Self.files(in: "\(folder)/\(name)")
      }
    }
    return files
  }
}

/// A memory fence of the library.
struct Fence: Sendable, CustomTestStringConvertible {
  let file: String
  let kind: WeakOrder.FenceKind
  let shape: Shape
  /// The lines of code before and after it.
  let after: String
  let before: String
  /// The line of an exchange that is a store and a fence in one; nil for a plain fence.
  let exchange: String?

  init(
    _ file: String, _ kind: WeakOrder.FenceKind, _ shape: Shape, after: String,
    exchange: String? = nil, before: String
  ) {
    (self.file, self.kind, self.shape) = (file, kind, shape)
    (self.after, self.exchange, self.before) = (after, exchange, before)
  }

  var testDescription: String { "\(file), before \(before)" }

  /// What a fence orders.
  enum Shape {
    /// Stores: a process that finds the second one, alive or after the writer's death, finds the first one.
    case stores
    /// A writer makes a version odd before it changes a record.
    case versionedWrite
    /// A reader of a record loads the version again after it has loaded the record.
    case versionedRead
    /// Two processes store a word each and then load the other one's: at least one finds the other one's store.
    case storeThenLoad
    /// A reader looks for a lease that was reserved, then for senders that are busy, then at the lease's mark. Senders
    /// go the other way, so an unmarked lease without a busy sender is a dead sender's.
    case loads

    /// The accesses around the fence, without the fence if `kind` is nil.
    func program(_ kind: WeakOrder.FenceKind?) -> WeakOrder {
      let fence: [WeakOrder.Step] = kind.map { [.fence($0)] } ?? []
      switch self {
      case .stores:
        return WeakOrder(threads: [
          [.store(0, 1)] + fence + [.store(1, 1)],
          [.load(1, into: 0, .acquiring), .load(0, into: 1)],
        ]) { $0[0] == 1 && $0[1] == 0 }
      case .versionedWrite:
        return versioned(fence, [.fence(.acquiring)])
      case .versionedRead:
        return versioned([.fence(.releasing)], fence)
      case .storeThenLoad:
        return WeakOrder(threads: [
          [.store(0, 1)] + fence + [.load(1, into: 0)],
          [.store(1, 1), .fence(.sequentiallyConsistent), .load(0, into: 1)],
        ]) { $0[0] == 0 && $0[1] == 0 }
      case .loads:
        // Words: 0 the sender's lock, 1 the reservation, 2 the mark.
        return WeakOrder(threads: [
          [
            .store(0, 1), .store(1, 1, .releasing), .store(2, 1, .releasing),
            .store(0, 0, .releasing),
          ],
          [.load(1, into: 0)] + (fence.isEmpty ? [] : [.fence(.sequentiallyConsistent)])
            + [.load(0, into: 1)] + fence + [.load(2, into: 2)],
        ]) { $0[0] == 1 && $0[1] == 0 && $0[2] == 0 }
      }
    }

    /// Words: 0 the version, 1 the record.
    private func versioned(
      _ write: [WeakOrder.Step], _ read: [WeakOrder.Step]
    ) -> WeakOrder {
      WeakOrder(threads: [
        [.store(0, 1)] + write + [.store(1, 1), .store(0, 2, .releasing)],
        [.load(0, into: 0, .acquiring), .load(1, into: 1)] + read + [.load(0, into: 2)],
      ]) { $0[0] == 0 && $0[1] == 1 && $0[2] == 0 }
    }
  }
}
